"""Freshness and data quality over real profiles on a real store: what the checks say."""

import os
from datetime import UTC, datetime, timedelta

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.gateways.telemetry import Telemetry
from mlops_assets.graph import build_experiment
from mlops_assets.serving.recording import STAMP
from mlops_assets_tests.monitoring.traffic import HOUR, Traffic


def test_a_profile_that_is_late_comes_with_the_reason_and_the_numbers(tmp_path):
    """Nothing was ever deployed where the record says that something answers."""
    traffic = Traffic(tmp_path)
    traffic.flush(traffic.now - 5 * HOUR)
    verdict = traffic.judge(names.PROFILE_IS_FRESH)[names.PROFILE_IS_FRESH]
    assert not verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.ERROR
    assert verdict.description.startswith(
        "dead endpoint: it does not answer (nothing is deployed there)"
    )
    assert verdict.metadata["finding"].value == "dead endpoint"
    (target,) = verdict.metadata["targets"].records
    assert target.data == {
        "target": "local",
        "finding": "dead endpoint",
        "newest_window": (traffic.now - 5 * HOUR).isoformat(),
    }
    (told,) = verdict.metadata["told"].value
    assert (told["target"], told["state"]) == ("local", "silent")


def test_what_an_endpoint_told_is_there_for_the_next_look(tmp_path):
    """Counted from one evaluation to the next, by the metadata of the last one."""
    traffic, counts = Traffic(tmp_path), iter([(100, 90), (1100, 100)])

    def ask(experiment, version, context):
        requests, refused = next(counts)
        at, by_reason = traffic.now.isoformat(), {"wrong_type": refused}
        return [Telemetry("local", at, "answers", "", requests, requests, by_reason)]

    traffic.flush(traffic.now)
    with dg.DagsterInstance.ephemeral() as instance:
        job = traffic.job(ask, names.DATA_QUALITY_HOLDS)
        first, second = (
            job.execute_in_process(instance=instance).get_asset_check_evaluations()[0]
            for _ in range(2)
        )
    assert not first.passed
    assert first.metadata["rejected_share"].value == 0.9
    assert (first.metadata["value"].value, first.metadata["threshold"].value) == (
        "90.00% of the requests refused",
        "5.00% of the requests",
    )
    assert second.passed
    assert (second.metadata["requests"].value, second.metadata["rejected"].value) == (
        1000,
        {"wrong_type": 10},
    )


def test_where_a_platform_counts_our_probes_they_are_no_traffic(tmp_path):
    """As many as there were since the last look, and in the minutes that it may be late."""
    counts = iter([5, 6, 40])

    def ask(experiment, version, context):
        at, requests = datetime.now(UTC).isoformat(), next(counts)
        return [Telemetry("local", at, "answers", "", requests, counts_probes=True)]

    traffic = Traffic(tmp_path)
    traffic.flush(traffic.now - 9 * HOUR)
    written = (traffic.now - 8 * HOUR).timestamp()
    for file in (tmp_path / "data").rglob("*.bin"):
        os.utime(file, (written, written))
    endpoint = names.endpoint_key("churn", "local")
    with dg.DagsterInstance.ephemeral() as instance:
        job = traffic.job(ask, names.PROFILE_IS_FRESH)
        findings = []
        for _ in range(3):
            (verdict,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
            findings.append(verdict.metadata["finding"].value)
            probed = dg.AssetCheckEvaluation(
                endpoint, names.ANSWERS_PROBE, passed=True, metadata={}
            )
            instance.report_runless_asset_event(probed)
    assert findings == ["late window", "no traffic", "dead log"]


def test_values_as_in_training_are_green(tmp_path):
    traffic = Traffic(tmp_path)
    traffic.flush(traffic.now)
    verdict = traffic.quality()
    assert verdict.passed
    assert verdict.description == (
        "2 columns over 1,000 rows are as expected; local does not tell how many requests were "
        "refused"
    )


def test_missing_values_in_two_windows_are_an_alarm(tmp_path):
    traffic = Traffic(tmp_path)
    traffic.flush(traffic.now - HOUR, missing=0.3)
    first = traffic.quality()
    assert first.passed
    assert "no alarm yet: tenure: missing in 30.0% of 1,000 rows" in first.description
    traffic.flush(traffic.now, missing=0.4)
    second = traffic.quality()
    assert not second.passed
    assert "1 of 2 columns is not as expected: tenure: missing in 40.0%" in second.description
    assert (second.metadata["value"].value, second.metadata["threshold"].value) == (
        "tenure: missing, 40.00% of the rows",
        "2.00% of the rows",
    )
    pictures = second.metadata["pictures"].value
    assert pictures.count("data:image") == 3
    assert "![tenure]" in pictures
    (row,) = second.metadata["columns"].records
    assert (row.data["column"], row.data["what"], row.data["windows"]) == (
        "tenure",
        "missing",
        "2 of 2",
    )


def test_the_yaml_may_expect_otherwise(tmp_path):
    asked = {"expectations": {"tenure": {"missing": 0.5}}}
    traffic = Traffic(tmp_path, monitoring=asked)
    for back in range(2):
        traffic.flush(traffic.now - back * HOUR, missing=0.4)
    assert traffic.quality().passed


def test_an_expectation_of_a_column_that_is_not_there_fails_and_the_others_are_judged(tmp_path):
    traffic = Traffic(tmp_path, monitoring={"expectations": {"tenur": {"missing": 0.5}}})
    traffic.flush(traffic.now)
    verdict = traffic.quality()
    assert not verdict.passed
    assert "version 3 has no such feature; did you mean 'tenure'?" in verdict.description
    assert "2 columns over 1,000 rows are as expected" in verdict.description


def test_without_rows_quality_is_not_judged(tmp_path):
    verdict = Traffic(tmp_path).quality()
    assert verdict.passed
    assert not verdict.metadata["judged"].value
    assert verdict.description.startswith("not judged: 0 rows, 200 are needed")


def test_what_arrived_is_told_by_target(tmp_path):
    """Files that do not count do not make a target fresh, but they did arrive."""
    traffic = Traffic(tmp_path)
    assert traffic.lately().arrivals == {}
    traffic.flush(traffic.now - HOUR)
    traffic.flush(traffic.now + 5 * HOUR)
    traffic.store.write_bytes(
        f"churn/profiles/3/local/{traffic.now:{STAMP}}/broken.bin", b"garbage"
    )
    (arrival,) = traffic.lately().arrivals.values()
    assert arrival.window == (traffic.now - HOUR).isoformat()
    age = datetime.now(UTC) - datetime.fromisoformat(arrival.written)
    assert abs(age.total_seconds()) < 60


def test_dagster_shows_what_was_not_made_for_long(tmp_path):
    asked = {
        "max_age_windows": 3,
        "max_endpoint_age_days": 30,
        "prediction_log": {},
        "labels": {"by": "request", "source": {"kind": "csv", "path": "labels.csv"}},
    }
    traffic = Traffic(tmp_path, monitoring=asked)
    policies = {
        spec.key.to_user_string().removeprefix("churn/"): spec.freshness_policy
        for made in build_experiment(traffic.experiment).assets
        for spec in made.specs
        if spec.freshness_policy is not None
    }
    windows = {name: each.fail_window.to_timedelta() for name, each in policies.items()}
    made_every_window = (
        "serving_profile", "prediction_log", "labels", "performance", "monitoring_report",
    )  # fmt: skip
    assert windows == {
        **dict.fromkeys(made_every_window, 4 * HOUR),
        "endpoints/local": timedelta(days=30),
    }
