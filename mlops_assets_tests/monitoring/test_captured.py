"""Captured requests are rows as their endpoint profiled them, in every dialect and encoding."""

import base64
import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.gateways.captures import Captures
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import inputs_path
from mlops_assets.monitoring.captured import Captured
from mlops_assets.monitoring.files import find
from mlops_assets.monitoring.windows import collect
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.recording import STAMP
from mlops_assets.serving.scorer import Scores
from mlops_assets_tests.builders import SCHEMA, make_columns, make_experiment
from mlops_assets_tests.monitoring.test_logged_profiles import columns_of, of_another_type, put
from mlops_assets_tests.peers import s3

EIGHT = datetime(2026, 5, 3, 8, tzinfo=UTC)
READER = Captured(3, SCHEMA, "customer")
KINDS = ("application/json", "text/csv", "text/csv; header=absent", "application/jsonlines")


def body(kind: str, columns: dict[str, list[Any]]) -> bytes:
    names, rows = [*columns], [*zip(*columns.values(), strict=True)]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    if kind == "application/json":
        return json.dumps({"instances": records}).encode()
    if kind == "application/jsonlines":
        return "\n".join(map(json.dumps, records)).encode()
    file = io.StringIO()
    table = [] if "absent" in kind else [names]
    csv.writer(file).writerows([*table, *rows])
    return file.getvalue().encode()


def part(mode: str, kind: str, content: bytes, *, plain: bool = True) -> dict[str, str]:
    said = {"observedContentType": kind, "mode": mode}
    if not plain:
        return {**said, "data": base64.b64encode(content).decode(), "encoding": "BASE64"}
    encoding = "CSV" if "csv" in kind else "JSON"
    return {**said, "data": content.decode(), "encoding": encoding}


def event(
    columns: dict[str, list[Any]],
    said: Scores,
    *,
    kind: str = KINDS[0],
    plain: bool = True,
    version: str = "3",
    **metadata: Any,
) -> dict[str, Any]:
    answer = {
        "predictions": said.predictions,
        "probabilities": said.probabilities,
        "classes": ["No", "Yes"],
        "model": "churn",
        "version": version,
        "request_id": "r",
    }
    content = json.dumps(answer).encode()
    return {
        "captureData": {
            "endpointInput": part("INPUT", kind, body(kind, columns), plain=plain),
            "endpointOutput": part("OUTPUT", KINDS[0], content, plain=plain),
        },
        "eventMetadata": {"eventId": "e", "inferenceTime": "2026-05-03T08:12:00Z", **metadata},
        "eventVersion": "0",
    }


def lines(*events: dict[str, Any]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in events).encode()


def said(rows: int) -> Scores:
    return Scores(["Yes"] * rows, [[0.25, 0.75]] * rows)


def profile(*parts: tuple[dict[str, list[Any]], Scores]) -> bytes:
    made = Profile(SCHEMA, when=EIGHT)
    for columns, scores in parts:
        made.track(columns, scores)
    return made.serialize()


def read(content: bytes) -> bytes:
    made = Profile(SCHEMA, when=EIGHT)
    for contents in READER.rows(content):
        made.add(contents)
    return made.serialize()


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_profile_the_endpoint_writes_of_the_same_rows(kind: str, plain: bool) -> None:
    tables = [make_columns(rows, seed=rows) for rows in (1, 30)]
    found = read(
        lines(*(event(one, said(len(one["tenure"])), kind=kind, plain=plain) for one in tables))
    )
    expected = profile(*((one, said(len(one["tenure"]))) for one in tables))
    assert columns_of(found) == columns_of(expected)


def test_other_versions_refusals_and_probes_are_no_rows() -> None:
    columns = make_columns(4, seed=1)
    refused = event(columns, said(4))
    output = part("OUTPUT", KINDS[0], b'{"error": "field tenure is missing"}')
    refused["captureData"]["endpointOutput"] = output
    page = event(columns, said(4))
    page["captureData"]["endpointOutput"] = part("OUTPUT", "text/html", b"<p>busy", plain=False)
    found = read(
        lines(
            event(columns, said(4), version="4"),
            refused,
            page,
            event(columns, said(4), customAttributes=["x-mlops-probe"]),
            event({**columns, "customer": ["a", "b", "c", None]}, said(4)),
        )
        + b"\n"
    )
    assert columns_of(found) == columns_of(profile((columns, said(4))))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "line 2 is no captured request"),
        (b"[]", "line 2"),
        (b'{"captureData": {}}', "endpointOutput"),
        (lines(event(make_columns(2, seed=0), said(3))), "3 predictions for other rows"),
        (lines(event({"tenure": [1.0]}, said(1))), "charges"),
    ],
)
def test_what_is_no_captured_request_is_named_by_its_line(line: bytes, words: str) -> None:
    first = lines(event(make_columns(2, seed=0), said(2)))
    with pytest.raises(ValueError, match=words):
        [*READER.rows(first + line)]


SAGEMAKER = {
    "kind": "sagemaker",
    "role": "arn:aws:iam::123456789012:role/serving",
    "image": "serving:1",
    "capture": {"url": "s3://bucket/captured", "percent": 20},
}


def test_files_are_of_the_window_of_their_hour(tmp_path: Path) -> None:
    store = DataStore(str(tmp_path), {})
    for path in ("v1/2026/05/03/08/12-00-1.jsonl", "live/2026/05/03/09/1.jsonl"):
        store.write_bytes(f"churn/{path}", b"")
    store.write_bytes("churn/v1/2026/05/03/08/readme.txt", b"")
    captures = Captures(store.at("churn"), 0.2)
    assert [
        (f"{one.window:%d %H}", one.target)
        for one in captures.increments({}, "sagemaker", seconds=3600)
    ] == [("03 08", "sagemaker"), ("03 09", "sagemaker")]
    days = captures.increments({}, "sagemaker", seconds=86_400)
    assert {f"{one.window:%d %H}" for one in days} == {"03 00"}
    assert captures.increments({}, "sagemaker", seconds=60) == []
    assert Captures(store.at("nobody"), 1.0).increments({}, "sagemaker", seconds=3600) == []


def test_a_window_without_profile_and_log_is_counted_from_the_capture() -> None:
    columns = make_columns(20, seed=1)
    experiment = make_experiment(deployment={"targets": [SAGEMAKER]})
    with s3.running() as peer:
        peer.create_bucket("bucket")
        store = DataStore("s3://bucket/data", dict(peer.storage_options))
        captured = DataStore("s3://bucket/captured/mlops-churn", store.storage_options)

        def rows() -> list[tuple[int, int, float | None]]:
            found = collect(store, "churn", 3, find(store, experiment, 3, ["sagemaker"]))
            return [(one.rows, one.from_log, one.log_sample) for one in found.windows]

        once = lines(event(columns, said(20)))
        captured.write_bytes("v3/2026/05/03/08/00-1.jsonl", once)
        # Without the version's inputs nobody can tell what is a number in it.
        assert rows() == []
        told = {"schema": SCHEMA.to_json(), "entity": None}
        store.write_json(inputs_path("churn", 3), told)
        assert rows() == [(20, 20, 0.2)]
        captured.write_bytes("v3/2026/05/03/08/00-2.jsonl", once)
        captured.write_bytes("v3/2026/05/03/08/59-1.jsonl", b"{")
        assert rows() == [(20, 20, 0.2)]
        folder = f"churn/profiles/3/sagemaker/{EIGHT:{STAMP}}"
        store.write_bytes(f"{folder}/late.bin", profile((columns, said(20))))
        assert rows() == [(20, 0, None)]


def test_a_capture_of_other_types_than_the_log_is_named_and_stops_nothing() -> None:
    experiment = make_experiment(deployment={"targets": [SAGEMAKER]})
    with s3.running() as peer:
        peer.create_bucket("bucket")
        store = DataStore("s3://bucket/data", dict(peer.storage_options))
        store.write_json(inputs_path("churn", 3), {"schema": SCHEMA.to_json(), "entity": None})
        put(store, of_another_type(), target="aws_lambda")
        captured = DataStore("s3://bucket/captured/mlops-churn", store.storage_options)
        captured.write_bytes(
            "v3/2026/05/03/08/1.jsonl", lines(event(make_columns(20, seed=1), said(20)))
        )
        found = collect(store, "churn", 3, find(store, experiment, 3, ["aws_lambda", "sagemaker"]))
        assert [one.rows for one in found.windows] == [1]
        (unreadable,) = found.unreadable
        assert unreadable.endswith("08/1.jsonl")
