"""What endpoints write for CloudWatch: valid lines, which add up to what was answered."""

import json
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.serving import aws_lambda, embedded
from mlops_assets.serving.client import PROBE_HEADER
from mlops_assets.serving.embedded import LARGEST_LINE, Embedded, Totals
from mlops_assets_tests.builders import CHARGES_OF_FAILURE, fails_below, make_bundle
from mlops_assets_tests.peers.embedded_metrics import FormatError, points

DIMENSIONS = {"Endpoint": "mlops-churn", "Version": "12"}
CONTEXT = SimpleNamespace(aws_request_id="9f4c-1")


def function(built, **more: str):
    variables = {
        "MLOPS_BUNDLE": str(built.folder),
        "MLOPS_EMBEDDED_METRICS": json.dumps({"Endpoint": "mlops-churn"}),
        "AWS_LAMBDA_FUNCTION_VERSION": "12",
    }
    return aws_lambda.build({**variables, **more})


def event(records, **headers: str):
    return {
        "version": "2.0",
        "rawPath": "/invocations",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", **headers},
        "requestContext": {"http": {"method": "POST", "path": "/invocations", "sourceIp": ""}},
        "body": json.dumps({"instances": records}),
        "isBase64Encoded": False,
    }


def told(output: str) -> Counter[str]:
    """The metrics that CloudWatch makes of an output."""
    found: Counter[str] = Counter()
    for line in output.splitlines():
        assert len(line) < LARGEST_LINE
        for point in points(line):
            assert point.key[0] == "mlops"
            assert point.key[2] == frozenset(DIMENSIONS.items())
            found[point.key[1]] += int(point.value)
    return found


@pytest.fixture
def recording(tmp_path) -> dict[str, str]:
    kept = {"profiles_url": str(tmp_path / "profiles"), "window_seconds": 3600}
    return {"MLOPS_RECORDING": json.dumps(kept), "TMPDIR": str(tmp_path)}


@pytest.mark.parametrize("recorded", [False, True])
def test_what_functions_write_adds_up_to_what_they_answered(tmp_path, capfd, recorded, recording):
    """Warm and cold, whatever is recorded, and with requests that are refused or fail."""
    built = fails_below(make_bundle(tmp_path / "bundle"))
    records, labels = built.records(40), Counter()
    more = recording if recorded else {}
    for handler in (function(built, **more), function(built, **more)):
        for start in range(0, 40, 8):
            answer = handler(event(records[start : start + 8]), CONTEXT)
            labels.update(json.loads(answer["body"])["predictions"])
        assert handler(event([{"tenure": "long"}]), CONTEXT)["statusCode"] == 400
        assert handler({"instances": [{}]}, CONTEXT)["error"] == "missing_field"
        assert handler(event(records[:3], **{PROBE_HEADER: "1"}), CONTEXT)["statusCode"] == 200
        with pytest.raises(aws_lambda.FailedError):
            handler(event([{**records[0], "charges": 2 * CHARGES_OF_FAILURE}]), CONTEXT)
    found = told(capfd.readouterr().out)
    refused = {name: count for name, count in found.items() if name.startswith("refused=")}
    assert found["rows"] == 80 == sum(labels.values())
    assert len(labels) == 2
    assert {label: found[f"label={label}"] for label in labels} == labels
    assert sum(refused.values()) == 6
    assert (refused["refused=internal"], refused["refused=missing_field"]) >= (2, 2)
    shares = [found[f"value<={step / 10}"] for step in range(1, 11)]
    assert shares == sorted(shares)
    assert shares[-1] == 80


def test_rows_are_told_before_the_event_is_over(binary, capfd, recording):
    handler = function(binary, **recording)
    for _ in range(3):
        handler(event(binary.records(5)), CONTEXT)
        assert told(capfd.readouterr().out)["rows"] == 5


def test_without_the_variable_nothing_is_written(binary, capfd):
    handler = function(binary, MLOPS_EMBEDDED_METRICS="")
    handler(event(binary.records(5)), CONTEXT)
    assert capfd.readouterr().out == ""


class Process:
    """A counting process, with its clock and what it wrote."""

    def __init__(self, **labels: int) -> None:
        self.labels, self.refused, self.now = Counter(labels), Counter(), time.time()
        self.written: list[bytes] = []
        self.embedded = Embedded(
            self.totals, DIMENSIONS, put=self.written.append, clock=lambda: self.now
        )

    def totals(self) -> Totals:
        rows = self.labels.total()
        return Totals(rows, dict(self.labels), {"0.5": rows // 2, "1.0": rows}, dict(self.refused))

    def write(self) -> dict[str, int]:
        """What is written now."""
        self.written.clear()
        self.embedded.write()
        found = [point for line in self.written for point in points(line.decode())]
        return {point.key[1]: int(point.value) for point in found}


def test_zeros_are_told_at_first_and_then_each_minute_with_what_is_new():
    process = Process(Yes=0, No=0)
    none = {"rows": 0, "label=Yes": 0, "label=No": 0, "value<=0.5": 0, "value<=1.0": 0}
    assert process.write() == none
    assert process.write() == {}
    process.labels["Yes"] += 3
    assert process.write() == {"rows": 3, "label=Yes": 3, "value<=0.5": 1, "value<=1.0": 3}
    process.now += 60
    assert process.write() == {}, "where nobody asks, nothing is written"
    process.labels["Yes"] += 1
    assert process.write() == {**none, "rows": 1, "label=Yes": 1, "value<=0.5": 1, "value<=1.0": 1}
    process.refused["bad_row"] += 1
    assert process.write() == {"refused=bad_row": 1}


def test_what_was_counted_before_is_not_told():
    """As by a fellow that had the same number of a process, whose counts are in its file."""
    process = Process(Yes=7)
    process.labels["Yes"] += 1
    assert process.write()["rows"] == 1


def test_an_output_that_is_gone_stops_nothing():
    def gone(line: bytes) -> None:
        raise BrokenPipeError

    process = Process(Yes=1)
    Embedded(process.totals, DIMENSIONS, put=gone).write()


def test_many_labels_share_few_names():
    process = Process(**{f"label {number}": 0 for number in range(400)})
    process.labels["label 17"] += 5
    assert len(process.write()) <= 1 + embedded.LABELS + 2
    process.labels["label 17"] += 5
    assert [count for name, count in process.write().items() if "label" in name] == [5]


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 10**9), max_size=150))
def test_whatever_labels_and_reasons_are_called_the_lines_are_valid(counts):
    labels = dict(list(counts.items())[:60])
    told = Totals(3, labels, {"1.0": 3}, counts).named()
    assert len(told) <= 2 + len(labels) + len(counts)
    lines = [*embedded.lines(told, DIMENSIONS, int(time.time() * 1000))]
    found = [(point.key[1], point.value) for line in lines for point in points(line.decode())]
    assert dict(found) == told
    assert len(found) == len(told)
    assert all(len(line) <= LARGEST_LINE for line in lines)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda line: f"INFO {line}",
        lambda line: line.replace('"Timestamp":1', '"When":1'),
        lambda line: line.replace("000", "", 1) if "000" in line else line[:-1],
        lambda line: line.replace('"rows":3', '"rows":"3"'),
        lambda line: line.replace('"Endpoint":"mlops-churn"', '"Endpoint":1'),
        lambda line: line.replace('{"Name":"rows"}', '{"Name":"rows"},{"Name":"absent"}'),
        lambda line: line.replace('"Namespace":"mlops"', '"Namespace":"AWS/Lambda"'),
    ],
)
def test_a_line_that_cloudwatch_would_drop_is_found(spoilt):
    (line,) = embedded.lines({"rows": 3}, DIMENSIONS, int(time.time()) * 1000)
    good = line.decode()
    assert len(points(good)) == 1
    with pytest.raises(FormatError):
        points(spoilt(good))
