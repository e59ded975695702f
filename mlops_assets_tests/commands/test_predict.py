"""Requests and answers as `mlops predict` writes them."""

import json
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from mlops_assets.commands import traffic
from mlops_assets.commands.predict import Question, answer_table, body_of, curl
from mlops_assets.serving.client import Answer

ROWS = [{"age": 40, "spent": 10.5, "senior": True, "region": "west"}, {"age": 20, "spent": None,
         "senior": False, "region": None}]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"dataframe_records": [{"a": 1}]}),
        ('[{"a": 1}, {"a": 2}]', {"dataframe_records": [{"a": 1}, {"a": 2}]}),
        ('{"inputs": {"a": [1]}}', {"inputs": {"a": [1]}}),
        ('{"inputs": 1, "b": 2}', {"dataframe_records": [{"inputs": 1, "b": 2}]}),
    ],
)
def test_records_lists_and_bodies_are_understood(text, expected):
    assert json.loads(body_of(text, "x")) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "rows.json is not JSON"), ("[1]", "neither an object"), ("[]", "neither"), ("3", "nor")],
)
def test_what_is_no_request_is_refused(text, said):
    with pytest.raises(click.ClickException, match=said):
        body_of(text, "rows.json")


def test_the_curl_line_survives_the_shell():
    question = Question(b'{"dataframe_records": [{"name": "O\'Brien"}]}', "application/json")
    words = shlex.split(curl("http://127.0.0.1:1", question))
    assert words[-1] == question.content.decode()
    assert "x-mlops-probe: 1" not in words
    file = Question(b"a\n1\n", "text/csv", Path("my rows.csv"), probe=True)
    words = shlex.split(curl("http://127.0.0.1:1", file))
    assert words[-1] == "@my rows.csv"
    assert {"content-type: text/csv", "x-mlops-probe: 1"} < set(words)


def test_the_curl_line_names_the_variable_of_the_key_and_not_the_key():
    command = curl("http://127.0.0.1:1", Question(b"{}", "application/json"), "CHURN_KEYS")
    shown = subprocess.run(
        ["bash", "-c", f"curl() {{ printf '%s\\n' \"$@\"; }}; {command}"],
        env={"CHURN_KEYS": "new,old"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "authorization: Bearer new" in shown.stdout.splitlines()
    assert "new" not in command


def test_answers_are_tables():
    labels = {"predictions": ["no"], "classes": ["no", "yes"], "probabilities": [[0.75, 0.25]]}
    assert answer_table(labels) == "prediction  P(no)   P(yes)\nno          0.7500  0.2500"
    assert answer_table({"predictions": [1234.5678]}) == "prediction\n1235"


def test_shifts_multiply_numbers_and_set_the_rest():
    changed = traffic.shifted(ROWS, ("age=1.5", "spent=2", "region=east", "senior=false"))
    assert changed == [
        {"age": 60, "spent": 21.0, "senior": False, "region": "east"},
        {"age": 30, "spent": None, "senior": False, "region": None},
    ]
    assert ROWS[0]["age"] == 40


@pytest.mark.parametrize("shift", ["agee=2", "age", "age=two"])
def test_shifts_that_mean_nothing_are_refused(shift):
    with pytest.raises(click.ClickException, match=shift):
        traffic.shifted(ROWS, (shift,))


def test_traffic_goes_in_batches_and_is_summed_up():
    asked, told = [], []

    def ask(batch):
        asked.append(len(batch))
        return Answer(
            predictions=["yes"] + ["no"] * (len(batch) - 1),
            probabilities=[[0.9, 0.1]] * len(batch),
            classes=["no", "yes"],
            model="churn",
            version="3",
            request_id="",
            explanations=None,
            content={},
        )

    sent = traffic.send(ROWS * 225, ask, on_batch=told.append, clock=iter([1.0, 3.0]).__next__)
    assert (asked, told) == ([200, 200, 50], [200, 400, 450])
    assert (sent.rows, sent.requests, sent.seconds, sent.version) == (450, 3, 2.0, "3")
    assert sent.predictions == {"no": 447, "yes": 3}
    assert sent.mean == pytest.approx(0.1)
