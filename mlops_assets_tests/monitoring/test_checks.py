"""The drift checks over real profiles on a real store: what they compare, and what they say."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.gateways.profile_store import importances_path
from mlops_assets.serving.contents import Contents
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.recording import STAMP
from mlops_assets.serving.schema import InputSchema
from mlops_assets_tests.monitoring.traffic import DAY, HOUR, Traffic


def test_traffic_as_in_training_is_green(tmp_path):
    traffic = Traffic(tmp_path)
    for back in range(3):
        traffic.flush(traffic.now - back * HOUR)
    verdicts = traffic.judge()
    assert [verdict.passed for verdict in verdicts.values()] == [True, True]
    said = verdicts[names.HAS_NOT_DRIFTED].description
    assert said == "2 columns of inputs over 1,000 rows are as in training"


def test_one_window_is_no_alarm_and_two_are(tmp_path):
    traffic = Traffic(tmp_path)
    traffic.flush(traffic.now - 2 * HOUR)
    traffic.flush(traffic.now - HOUR, shift=0.6)
    first = traffic.inputs()
    assert first.passed
    assert "no alarm yet: in the newest window charges" in first.description
    traffic.flush(traffic.now, shift=0.6)
    second = traffic.inputs()
    assert not second.passed
    assert "1 of 2 columns of inputs is not as in training: charges" in second.description
    assert "in 2 of 3 windows" in second.description
    table = second.metadata["columns"].records
    assert [row.data["column"] for row in table] == ["charges", "tenure"]
    assert table[0].data["windows"] == "2 of 3"
    pictures = second.metadata["pictures"].value
    assert pictures.count("](data:image/svg+xml;base64,") == 3
    assert "![charges]" in pictures


def test_asking_again_about_the_same_windows_changes_nothing(tmp_path):
    """Windows count, not how often somebody looked at them."""
    traffic = Traffic(tmp_path)
    traffic.flush(traffic.now, shift=0.6)
    assert [traffic.inputs().passed for _ in range(3)] == [True] * 3


def test_the_columns_that_matter_come_first(tmp_path):
    traffic = Traffic(tmp_path, windows=1, at_least=1, effect=0.01)
    traffic.store.write_json(importances_path("churn", 3), {"tenure": 0.2, "charges": 0.001})
    traffic.flush(traffic.now, shift=0.6)
    table = traffic.inputs().metadata["columns"].records
    assert [row.data["importance"] for row in table] == [0.001, 0.2]
    assert [row.data["alarm"] for row in table] == ["yes", ""]


def test_predictions_are_judged_apart_from_inputs(tmp_path):
    traffic = Traffic(tmp_path)
    for back in range(2):
        traffic.flush(traffic.now - back * HOUR, churned=0.6)
    verdicts = traffic.judge()
    assert verdicts[names.HAS_NOT_DRIFTED].passed
    assert not verdicts[names.PREDICTIONS_HAVE_NOT_DRIFTED].passed


def test_windows_of_few_rows_are_judged_together_or_not_at_all(tmp_path):
    traffic = Traffic(tmp_path, windows=1, at_least=1)
    for back in range(3):
        traffic.flush(traffic.now - back * HOUR, rows=60, shift=1.5)
    verdict = traffic.inputs()
    assert verdict.passed
    assert verdict.description == (
        "not judged: 180 rows, 200 are needed (monitoring.drift.min_rows)"
    )
    traffic.flush(traffic.now - 3 * HOUR, rows=60, shift=1.5)
    assert not traffic.inputs().passed


@pytest.mark.parametrize("against", ["previous", "day_before", "week_before", "year_before"])
def test_a_reference_may_be_traffic_of_before(tmp_path, against):
    """Both differ from training, and not from each other; then the newest differs."""
    earlier = {"day_before": DAY, "week_before": 7 * DAY, "year_before": 364 * DAY}
    traffic = Traffic(tmp_path, against=against)
    traffic.flush(traffic.now - earlier.get(against, HOUR), shift=2.0)
    traffic.flush(traffic.now, shift=2.0)
    assert traffic.drifted() == []
    for _ in range(3):
        traffic.flush(traffic.now, shift=-2.0)
    assert traffic.drifted() == ["charges"]


def test_traffic_of_before_that_another_version_answered_tells_of_inputs_alone(tmp_path):
    traffic = Traffic(tmp_path, against="day_before", windows=1, at_least=1)
    traffic.flush(traffic.now - DAY, version=2, churned=0.9)
    traffic.flush(traffic.now)
    verdicts = traffic.judge()
    assert verdicts[names.HAS_NOT_DRIFTED].metadata["judged"].value
    predictions = verdicts[names.PREDICTIONS_HAVE_NOT_DRIFTED]
    assert predictions.passed
    assert predictions.description == "not judged: another version answered then"


def test_without_traffic_of_before_nothing_is_judged(tmp_path):
    traffic = Traffic(tmp_path, against="week_before")
    traffic.flush(traffic.now)
    said = traffic.inputs().description
    assert said == (
        "not judged: fewer than 200 rows at the same hours the week before "
        "(monitoring.drift.against)"
    )


def test_windows_that_have_not_begun_and_broken_files_are_named_and_left_out(tmp_path):
    traffic = Traffic(tmp_path)
    traffic.flush(traffic.now)
    traffic.flush(traffic.now + 5 * HOUR, shift=9.0)
    traffic.store.write_bytes(
        f"churn/profiles/3/local/{traffic.now:{STAMP}}/broken.bin", b"garbage"
    )
    assert traffic.drifted() == []
    record = traffic.lately()
    assert [window.rows for window in record.windows] == [1000]
    assert len(record.ahead) == 1
    assert [url[-10:] for url in record.unreadable] == ["broken.bin"]


def test_a_column_of_the_yaml_that_nobody_profiled_is_said(tmp_path):
    traffic = Traffic(tmp_path, columns=["tenur"])
    traffic.flush(traffic.now)
    verdict = traffic.inputs()
    assert not verdict.passed
    assert "no column to judge: tenur" in verdict.description


def test_the_first_minutes_of_an_hour_are_no_window_yet(tmp_path):
    """A full hour has shifted, and so have the few rows since: that is one window, not two."""
    traffic = Traffic(tmp_path, windows=3, at_least=2)
    for back in (2, 1):
        traffic.flush(traffic.now - back * HOUR)
    traffic.flush(traffic.now, shift=0.8)
    traffic.flush(traffic.now + HOUR, rows=250, shift=0.8)
    verdict = traffic.inputs()
    assert verdict.passed
    assert "no alarm yet" in verdict.description
    assert verdict.metadata["rows"].value == 1000


def test_an_alarm_is_about_the_window_that_it_is_of(tmp_path):
    """Two windows had drifted, and the newest is as in training again: what people are told is
    what failed."""
    traffic = Traffic(tmp_path, windows=3, at_least=2)
    for back in (2, 1):
        traffic.flush(traffic.now - back * HOUR, shift=0.8)
    traffic.flush(traffic.now)
    verdict = traffic.inputs()
    assert not verdict.passed
    value, threshold = verdict.metadata["value"].value, verdict.metadata["threshold"].value
    assert value > threshold
    assert f"charges ({value:.2f}, in 2 of 3 windows" in verdict.description


def in_words(rows, *, missing=0):
    """The profile of a replica whose `charges` are words; so many rows lack their `tenure`."""
    profile = Profile(InputSchema(()), when=datetime.now(UTC))
    tenure = np.random.default_rng(1).normal(size=rows)
    tenure[:missing] = np.nan
    words = Counter({"low": rows // 2, "high": rows - rows // 2})
    labels = Counter({"yes": rows * 3 // 10, "no": rows - rows * 3 // 10})
    profile.add(Contents(rows, {"tenure": tenure, "charges": words, "prediction": labels}))
    return profile.serialize()


@pytest.mark.parametrize("words_first", [True, False])
def test_a_column_that_is_words_in_some_files_of_a_window_is_said_and_stops_no_other(
    tmp_path, words_first
):
    """Two replicas: that of one the clients send numbers, of the other strings."""
    traffic = Traffic(tmp_path)
    for back in (1, 0):
        files = [in_words(300, missing=100), traffic.profile(700)]
        for content in files if words_first else files[::-1]:
            traffic.leave(traffic.now - back * HOUR, content)
    assert [window.rows for window in traffic.lately().windows] == [1000, 1000]
    verdicts = traffic.judge(
        names.DATA_QUALITY_HOLDS, names.HAS_NOT_DRIFTED, names.PREDICTIONS_HAVE_NOT_DRIFTED
    )
    quality = verdicts[names.DATA_QUALITY_HOLDS]
    rows = {(r.data["column"], r.data["what"]): r.data for r in _columns(quality)}
    assert set(rows) == {("charges", "type"), ("tenure", "missing")}
    assert (rows["charges", "type"]["share"], rows["charges", "type"]["alarm"]) == (0.3, "yes")
    assert rows["charges", "type"]["detail"] == "words, numbers are expected"
    assert rows["tenure", "missing"]["share"] == 0.1
    drifted = {r.data["column"]: r.data for r in _columns(verdicts[names.HAS_NOT_DRIFTED])}
    assert drifted["charges"]["alarm"] == "yes"
    assert drifted["charges"]["most_moved"] == "(no number): 0.0% → 30.0%"
    # The numbers among them are as they were.
    assert drifted["charges"]["ks"] < 0.08
    assert drifted["tenure"]["most_moved"].startswith("(missing): 0.0% → 10.0%")
    predictions = verdicts[names.PREDICTIONS_HAVE_NOT_DRIFTED]
    assert predictions.passed
    assert predictions.metadata["judged"].value


def _columns(verdict):
    return verdict.metadata["columns"].records


@pytest.mark.parametrize(("words", "numbers"), [(700, 300), (300, 700)])
def test_windows_with_as_much_of_both_as_those_before_have_not_drifted(tmp_path, words, numbers):
    """What is compared with may hold both, too: then what most of its values are counts."""
    traffic = Traffic(tmp_path, against="previous", windows=1, at_least=1)
    for back in (1, 0):
        traffic.leave(traffic.now - back * HOUR, in_words(words))
        traffic.flush(traffic.now - back * HOUR, numbers)
    assert traffic.drifted() == []


def test_numbers_that_have_all_become_words_are_drift(tmp_path):
    traffic = Traffic(tmp_path, windows=1, at_least=1)
    traffic.leave(traffic.now, in_words(1000))
    verdict = traffic.inputs()
    assert not verdict.passed
    assert verdict.description.startswith("1 of 2 columns of inputs is not as in training: charges")
