"""Predictions and refusals out of CloudWatch, of what processes wrote to their logs."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops_assets.deployment import embedded
from mlops_assets.deployment.embedded import Told
from mlops_assets.deployment.targets.base import Traffic
from mlops_assets.gateways.aws import CloudError, Service
from mlops_assets.gateways.cloudwatch import Span
from mlops_assets.serving.embedded import Totals, lines
from mlops_assets_tests.peers import aws
from mlops_assets_tests.peers.embedded_metrics import EmbeddedMetrics, refuse_too_many


class CloudWatch:
    """One that reads a log."""

    def __init__(self, server: aws.Aws, log: Path) -> None:
        self.server, self.log = server, log
        log.touch()
        self.metrics = EmbeddedMetrics(server, lambda: [log])
        server.answers["cloudwatch", "GetMetricData"] = self._get

    def tell(self, version: str, totals: Totals, *, ago: float = 0.0) -> None:
        dimensions = {"Endpoint": "mlops-churn", "Version": version}
        when = int((time.time() - ago) * 1000)
        with self.log.open("ab") as log:
            log.writelines(lines(totals.named(), dimensions, when))

    def read(self, *versions: str, hours: float = 1.0) -> dict[str, Told]:
        service = Service("cloudwatch", region=None, variables=self.server.credentials)
        now = datetime.now(UTC)
        span = Span(now - timedelta(hours=hours), now + timedelta(minutes=5), 60)
        return embedded.read(service, "mlops-churn", versions, span)

    def _get(self, call):
        asked = call.parameters
        refuse_too_many(asked["MetricDataQueries"])
        between = asked["StartTime"], asked["EndTime"]
        results = [
            {"Id": one["Id"], **self.metrics.values(one["MetricStat"], *between)}
            for one in asked["MetricDataQueries"]
        ]
        return {"MetricDataResults": results}


@pytest.fixture
def cloudwatch(tmp_path):
    with aws.running() as server:
        yield CloudWatch(server, tmp_path / "output.log")
        assert server.broken == []


def totals(yes: int, no: int, **refused: int) -> Totals:
    return Totals(yes + no, {"Yes": yes, "No": no}, {"0.5": no, "1.0": yes + no}, refused)


def test_versions_are_told_apart_and_their_lines_added_up(cloudwatch):
    cloudwatch.metrics.page = 3
    cloudwatch.tell("1", totals(2, 8, bad_row=1), ago=130)
    cloudwatch.tell("1", totals(1, 9, bad_row=2, internal=4))
    cloudwatch.tell("2", totals(5, 0))
    cloudwatch.tell("1", totals(100, 100), ago=7000)
    cloudwatch.tell("3", totals(100, 100))
    found = cloudwatch.read("1", "2")
    said = {"label=Yes": 3, "label=No": 17, "value<=0.5": 17, "value<=1.0": 20}
    assert found["1"] == Told(20, said, {"bad_row": 3, "internal": 4})
    none = {"label=Yes": 5, "label=No": 0, "value<=0.5": 0, "value<=1.0": 5}
    assert found["2"] == Told(5, none, {})
    assert cloudwatch.read("1", hours=3)["1"].rows == 220


def test_a_version_that_is_known_to_tell_and_told_nothing_has_no_rows(cloudwatch):
    cloudwatch.tell("1", totals(2, 8), ago=7000)
    assert cloudwatch.read("1", "2") == {"1": Told(0, {}, {})}


def test_what_is_not_listed_yet_is_asked_by_the_names_of_the_others(cloudwatch):
    cloudwatch.metrics.listed_after = 900
    cloudwatch.tell("1", totals(2, 8), ago=1000)
    cloudwatch.tell("2", totals(5, 0))
    assert cloudwatch.read("1", "2")["2"].predictions["label=Yes"] == 5
    assert cloudwatch.read("2") == {"2": Told(5, {}, {})}, "rows have one name for all"


def test_bounds_that_a_version_does_not_have_are_not_said_of_it(cloudwatch):
    for version, bound in (("1", "2.0"), ("2", "2.5")):
        cloudwatch.tell(version, Totals(3, {}, {"1.0": 0, bound: 3}, {}))
    found = cloudwatch.read("1", "2")
    assert found["1"].predictions == {"value<=1.0": 0, "value<=2.0": 3}
    assert found["2"].predictions == {"value<=1.0": 0, "value<=2.5": 3}


def test_names_are_readable_again(cloudwatch):
    cloudwatch.tell("1", Totals(1, {"Größe = 100 %": 1}, {}, {}))
    assert cloudwatch.read("1")["1"].predictions == {"label=Größe = 100 %": 1}


def test_more_metrics_than_one_call_takes(cloudwatch):
    labels = {f"label {number}": number for number in range(50)}
    versions = [str(number) for number in range(12)]
    for version in versions:
        cloudwatch.tell(version, Totals(1225, labels, {}, {}))
    found = cloudwatch.read(*versions)
    assert {one.predictions["label=label 49"] for one in found.values()} == {49}
    assert len(cloudwatch.server.asked("GetMetricData")) == 2
    assert len(cloudwatch.server.asked("ListMetrics")) == 12


def test_where_nobody_told_it_is_not_known(cloudwatch):
    assert cloudwatch.read("1") == {}
    counted = Traffic(7, 1, 2, None, {})
    assert embedded.completed(counted, None) == counted
    nobody = embedded.completed(Traffic(0, 0, 0, None, {}), None)
    assert (nobody.rows, nobody.refused) == (0, {}), "whom nobody asked has answered nothing"
    told = embedded.completed(counted, Told(5, {"label=Yes": 5}, {"bad_row": 2}))
    assert told == Traffic(7, 1, 2, 5, {"label=Yes": 5}, {"bad_row": 2})


def test_without_the_right_to_list_metrics_it_is_not_known(cloudwatch, caplog):
    cloudwatch.tell("1", totals(2, 8))
    cloudwatch.server.fail("ListMetrics", "AccessDenied", status=403)
    assert cloudwatch.read("1") == {}
    assert "predictions of mlops-churn are not known" in caplog.text
    cloudwatch.server.fail("ListMetrics", "InvalidParameterValue", status=400)
    with pytest.raises(CloudError):
        cloudwatch.read("1")
