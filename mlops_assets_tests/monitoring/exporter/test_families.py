"""The samples of facts: bounded, documented, and such as Prometheus takes."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.monitoring.exporter.facts import AssetMade, Deployed, Ended, Facts
from mlops_assets.monitoring.exporter.families import (
    FAMILIES,
    OWN,
    Sample,
    bounded,
    render,
    samples,
)
from mlops_assets_tests.monitoring.exporter.facts import DRIFT, FACTS

WIKI = Path(__file__).parents[3] / "wiki" / "monitoring.md"


def text(facts: Facts) -> str:
    return render(samples(facts))[0].decode()


def test_every_metric_of_the_platform_comes_from_facts() -> None:
    assert {sample.name for sample in samples(FACTS)} == {*FAMILIES}


def test_what_is_told_of_a_check() -> None:
    labels = 'asset="serving_profile",check="has_not_drifted",experiment="churn",severity="warning"'
    lines = sorted(
        line for line in text(Facts(("churn",), (DRIFT,))).splitlines() if labels in line
    )
    assert [line.replace(f"{{{labels}}}", "") for line in lines] == [
        "mlops_check_evaluated_timestamp_seconds 1.764e+09",
        "mlops_check_passed 0.0",
        "mlops_check_threshold 0.15",
        "mlops_check_value 0.31",
    ]
    silent = replace(DRIFT, value=None, threshold=None)
    assert "mlops_check_value" not in text(Facts(("churn",), (silent,)))


def test_runs_are_counted_by_result_and_the_last_of_each_is_told() -> None:
    ended = [Ended("churn", "retrain", result, at) for result, at in
             (("success", 5.0), ("failure", 9.0), ("failure", 7.0))]  # fmt: skip
    found = {s.labels: s.value for s in samples(Facts(("churn",), ended=tuple(ended)))
             if s.name == "mlops_runs_ended_last_day"}  # fmt: skip
    assert found == {
        ("churn", "retrain", "success"): 1.0,
        ("churn", "retrain", "failure"): 2.0,
    }
    assert 'result="failure"} 9.0' in text(Facts(("churn",), ended=tuple(ended)))


def test_a_label_with_anything_in_it_stays_one_label() -> None:
    odd = replace(DRIFT, experiment='a"b\\c\nd')
    assert 'experiment="a\\"b\\\\c\\nd"' in text(Facts((odd.experiment,), (odd,)))


@given(
    sizes=st.lists(st.integers(0, 8), max_size=8),
    most=st.integers(1, 40),
)
def test_the_series_are_bounded_and_experiments_whole(sizes: list[int], most: int) -> None:
    experiments = [f"e{i}" for i in range(len(sizes))]
    told = [
        Sample("mlops_endpoint_version", (name, f"t{i}"), 1.0)
        for name, size in zip(experiments, sizes, strict=True)
        for i in range(size)
    ]
    kept, left_out = bounded(told, experiments, most=most)
    assert len(kept) <= most
    first = len(experiments) - left_out
    assert kept == told[: sum(sizes[:first])]
    assert left_out == 0 or sum(sizes[: first + 1]) > most


def test_the_platforms_own_is_never_left_out() -> None:
    told = [
        Sample("mlops_tickets_open", ("all", "error"), 1.0),
        Sample("mlops_tickets_looked_timestamp_seconds", (), 5.0),
        Sample("mlops_endpoint_version", ("churn", "local"), 3.0),
    ]
    assert bounded(told, ["churn"], most=2) == (told[:2], 1)


def test_promtool_finds_nothing_to_say_of_the_names() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    own = [Sample(name, ("storage",) * len(each.labels), 1.0) for name, each in OWN.items()]
    content, _ = render([*samples(FACTS), *own])
    done = subprocess.run([promtool, "check", "metrics"], input=content, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_the_documentation_names_each_with_its_labels() -> None:
    rows = re.findall(r"^\| `(mlops_\w+)` \| ([^|]*)\|", WIKI.read_text(), flags=re.MULTILINE)
    written = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert written == {name: each.labels for name, each in {**FAMILIES, **OWN}.items()}


def test_an_endpoint_that_was_stopped_is_not_expected() -> None:
    one = Deployed("churn", "local", 7, 10.0, expected=False)
    assert 'mlops_endpoint_expected{experiment="churn",target="local"} 0.0' in text(
        Facts(("churn",), endpoints=(one,))
    )


def test_an_asset_without_a_policy_is_never_overdue() -> None:
    made = AssetMade("churn", "source", 10.0, None)
    assert "mlops_asset_fresh_seconds" not in text(Facts(("churn",), assets=(made,)))
