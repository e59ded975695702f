"""The log as endpoints write it, joined with labels that come late, changed, or for nobody."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.modeling import metrics
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.monitoring.performance import logged
from mlops_assets_tests.builders import make_bundle
from mlops_assets_tests.monitoring.performance.served import DAY, HOUR, LATER, NOW, Served


class CountingStore(DataStore):
    """Remembers which tables were read."""

    def __init__(self, url):
        super().__init__(url, {})
        self.read = []

    def read_table(self, url, columns=None):
        self.read.append(url)
        return super().read_table(url, columns)


def outcome(answers):
    """As scikit-learn would be told."""
    codes = {"No": 0.0, "Yes": 1.0}
    return Outcome(
        np.array([codes[each] for each in answers.truth]),
        np.array([codes[each] for each in answers.scores.predictions]),
        np.array(answers.scores.probabilities),
    )


def test_realised_quality_is_that_of_the_labelled_rows(served):
    answers = served.answer(NOW - HOUR, seed=1)
    served.tell(answers, rows=slice(0, 200))
    served.tell(answers, rows=slice(200, 220), after=timedelta(minutes=50))
    (window,) = served.measure().windows
    assert (window.predictions, window.labelled, window.coverage) == (300, 220, 220 / 300)
    assert (window.lag_median_s, window.lag_max_s) == (25 * 60, 45 * 60)
    whole = outcome(answers).take(slice(0, 220))
    assert {name: each.value for name, each in window.realised.items()} == pytest.approx(
        {name: metrics.point(name, whole) for name in metrics.MEASURES if name in window.realised}
    )
    assert {"roc_auc", "f1", "log_loss"} <= set(window.realised)
    auc = window.realised["roc_auc"]
    assert auc.low < auc.value < auc.high


def test_before_labels_there_is_an_estimate_and_no_measurement(served):
    answers = served.answer(NOW - HOUR, rows=800, seed=1)
    (window,) = served.measure().windows
    assert (window.labelled, window.realised, window.lag_median_s) == (0, {}, None)
    estimate = window.estimated["roc_auc"]
    assert estimate.low <= metrics.point("roc_auc", outcome(answers)) <= estimate.high


def test_a_window_is_computed_again_when_its_own_labels_come(served):
    first, second = (served.answer(NOW - hours * HOUR, seed=hours) for hours in (1, 2))
    served.tell(first)
    served.tell(second, rows=slice(0, 150))
    before = {window.start: window for window in served.measure(now=LATER).windows}
    served.tell(second, rows=slice(150, None))
    after = {window.start: window for window in served.measure(now=LATER + DAY).windows}
    one, two = first.start.isoformat(), second.start.isoformat()
    assert after[one].computed_at == before[one].computed_at
    assert (after[one].revision, after[two].revision) == (1, 2)
    assert (before[two].labelled, after[two].labelled) == (150, 300)
    assert after[two].before["roc_auc"] == before[two].realised["roc_auc"].value
    assert after[two].estimated == before[two].estimated


def test_labels_in_parts_give_what_all_at_once_give(tmp_path, churn_bundle):
    found = []
    for parts in ([slice(None)], [slice(200, None), slice(0, 50), slice(50, 200)]):
        folder = tmp_path / str(len(parts))
        folder.mkdir()
        served = Served(folder, churn_bundle, DataStore(str(folder / "data"), {}))
        answers = served.answer(NOW - HOUR, seed=4)
        for part in parts:
            served.tell(answers, rows=part)
            (window,) = served.measure().windows
        found.append((window.realised, window.labelled, window.joined))
    assert found[0] == found[1]


def test_a_label_that_changes_counts_as_it_was_told_last(served):
    answers = served.answer(NOW - HOUR, seed=1)
    served.tell(answers)
    good = served.measure().windows[0]
    served.tell(answers, turned=True, after=timedelta(minutes=40))
    turned = served.measure().windows[0]
    assert (turned.revision, turned.labelled) == (2, 300)
    assert turned.realised["roc_auc"].value == pytest.approx(1 - good.realised["roc_auc"].value)
    assert turned.before["roc_auc"] == good.realised["roc_auc"].value


def test_rows_that_were_written_twice_count_once(served):
    answers = served.answer(NOW - HOUR, seed=1)
    served.tell(answers)
    before = served.measure().windows[0]
    (file,) = Path(served.store.at("churn/predictions")).rglob("*.parquet")
    shutil.copy(file, file.with_name("again.parquet"))
    after = served.measure().windows[0]
    assert after.log != before.log
    assert (after.predictions, after.labelled) == (300, 300)
    assert after.realised == before.realised


def test_labels_for_requests_that_nobody_made_are_counted_and_named(by_request):
    answers = by_request.answer(NOW - HOUR, seed=1)
    by_request.tell(answers, rows=slice(0, 250))
    by_request.told += [("r-unknown", 0, "x", "", NOW.isoformat(), "Yes")] * 2
    by_request.told += [(answers.request, 999, "x", "", NOW.isoformat(), "No")]
    found = by_request.measure()
    assert found.windows[0].labelled == 250
    assert found.unknown == 2
    assert found.examples == ("r-unknown", "request-1")
    assert by_request.measure() == found


def test_what_is_unknown_is_counted_anew_after_a_run_that_was_cut_off(by_request):
    by_request.tell(by_request.answer(NOW - HOUR, seed=1))
    by_request.told += [("r-unknown", 0, "x", "", NOW.isoformat(), "Yes")]
    assert by_request.measure().unknown == 1
    by_request.store.remove("churn/performance/unknown.json")
    assert by_request.measure().unknown == 1


def test_nothing_is_read_again_when_nothing_changed(tmp_path, churn_bundle):
    store = CountingStore(str(tmp_path / "data"))
    served = Served(tmp_path, churn_bundle, store)
    for hours in (1, 2, 3):
        served.tell(served.answer(NOW - hours * HOUR, seed=hours))
    first = served.measure()
    store.read.clear()
    assert served.measure() == first
    assert store.read == []
    served.answer(NOW, seed=9)
    served.measure()
    # One file of the log, for its count and for its answers.
    assert sum("/predictions/" in url for url in store.read) == 2


def test_versions_are_measured_apart(served):
    served.tell(served.answer(NOW - HOUR, seed=1))
    served.tell(served.answer(NOW - HOUR, rows=50, seed=2, version=2))
    found = served.measure().windows
    assert [(w.version, w.predictions, w.labelled) for w in found] == [(1, 300, 300), (2, 50, 50)]


def test_labels_of_a_class_the_version_does_not_know_are_counted_apart(served):
    answers = served.answer(NOW - HOUR, seed=1)
    served.tell(answers)
    served.schema = served.schema.from_json(served.schema.to_json() | {"classes": ["No", "Gone"]})
    served.told = [(*row[:5], "Gone" if n < 20 else "No") for n, row in enumerate(served.told)]
    window = served.measure().windows[0]
    assert (window.strange, window.labelled) == (20, 280)


def test_files_that_are_no_table_are_named_and_left_out(served):
    served.answer(NOW - HOUR, seed=1)
    (file,) = Path(served.store.at("churn/predictions")).rglob("*.parquet")
    file.with_name("broken.parquet").write_bytes(b"garbage")
    for _ in range(2):
        found = logged.index(served.store, "churn", since=NOW - DAY, until=LATER)
        assert [window.rows for window in found.windows] == [300]
        assert [url[-14:] for url in found.unreadable] == ["broken.parquet"]


def test_a_regression_is_measured(tmp_path):
    built = make_bundle(tmp_path / "bundle", task="regression")
    served = Served(tmp_path, built, DataStore(str(tmp_path / "data"), {}))
    answers = served.answer(NOW - HOUR, seed=1)
    served.tell(answers)
    (window,) = served.measure().windows
    errors = np.subtract(answers.truth, answers.scores.predictions)
    assert window.realised["rmse"].value == pytest.approx(np.sqrt((errors**2).mean()))


def test_what_is_kept_of_a_window_holds_no_rows(served):
    """Neither entities nor features stand in what is written beside the log."""
    served.tell(served.answer(NOW - HOUR, seed=1))
    served.measure()
    for file in Path(served.store.at("churn/performance")).rglob("*.json"):
        text = file.read_text()
        assert "c1-" not in text
        assert "request-1" not in text
        assert json.loads(text)
