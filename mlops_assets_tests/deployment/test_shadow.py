"""A candidate scores what the live version answered, from the prediction log as it is written."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from mlops_assets.deployment import preflight, reports, shadow
from mlops_assets.deployment.shadow import ShadowError
from mlops_assets.deployment.spec import ShadowSpec
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import PredictionStore
from mlops_assets.gateways.records import Endpoint
from mlops_assets.serving.prediction_log import PredictionLog
from mlops_assets.serving.recording import STAMP, Answered
from mlops_assets.serving.scorer import Scorer
from mlops_assets_tests.builders import Built, make_bundle, make_columns
from mlops_assets_tests.endpoints import Place
from mlops_assets_tests.fakes.target import Clock

NOW = datetime(2026, 5, 3, 12, 30, tzinfo=UTC)
SLICES = ("contract", "region")
LIVE = Endpoint("churn", "local", "http://live", 1, "digest", NOW.isoformat(), None)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Built]:
    folder = tmp_path_factory.mktemp("numbers")
    first, second = (make_bundle(folder / f"{s}", task="regression", seed=s) for s in (0, 1))
    return first, second


def logged(
    built: Built,
    store: DataStore,
    *,
    rows: int = 300,
    when: datetime = NOW,
    version: int = 1,
    target: str = "local",
) -> None:
    """What an endpoint that serves this bundle writes of its traffic."""
    columns = make_columns(rows, seed=5)
    scores = Scorer.open(built.folder).score(columns)
    log = PredictionLog(built.manifest, version=str(version), sample=1.0, columns=None)
    log.add(
        when.replace(minute=0), Answered(columns, scores, when.timestamp(), f"r-{when:%H%M}", [])
    )
    for window, requests in log.take().items():
        folder = f"churn/predictions/{version}/{target}/{window.strftime(STAMP)}"
        store.write_bytes(f"{folder}/a.parquet", log.encode(requests))


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    return DataStore(str(tmp_path / "data"), {})


@pytest.fixture
def clock() -> Iterator[Clock]:
    return Clock(NOW)


def gathered(store: DataStore, clock: Clock, **asked: float) -> pd.DataFrame | None:
    context = replace(Place(Path()).context, now=clock.now, sleep=clock.sleep)
    return shadow.gather(store, LIVE, ShadowSpec(**asked), context)


def test_the_same_model_agrees_on_every_row(one: Built, store: DataStore, clock: Clock) -> None:
    logged(one, store)
    rows = gathered(store, clock)
    report = shadow.compare(rows, one.folder, spec=ShadowSpec(min_agreement=1.0), slices=SLICES)
    assert (report.rows, report.agreement, report.passed) == (300, 1.0, True)
    assert report.score_shift < 1e-12
    assert {flips.flipped for flips in report.flips} == {0}


def test_another_model_is_told_apart_by_slice(
    one: Built, two: Built, store: DataStore, clock: Clock
) -> None:
    logged(one, store)
    rows = gathered(store, clock)
    spec = ShadowSpec(min_agreement=0.99, max_score_shift=0.01)
    report = shadow.compare(rows, two.folder, spec=spec, slices=SLICES)
    labels = Scorer.open(two.folder).score(make_columns(300, seed=5)).predictions
    answered = Scorer.open(one.folder).score(make_columns(300, seed=5)).predictions
    flipped = sum(a != b for a, b in zip(labels, answered, strict=True))
    assert flipped > 0
    assert report.agreement == pytest.approx(1 - flipped / 300)
    assert sum(flips.flipped for flips in report.flips) == flipped
    assert {flips.slice for flips in report.flips} >= {"contract=monthly", "contract=missing"}
    shares = [flips.share for flips in report.flips]
    assert shares == sorted(shares, reverse=True)
    assert not report.passed
    labels, scores = report.problems
    assert "min_agreement" in labels.words
    assert "max_score_shift" in scores.words
    assert labels.breach.value == f"{report.agreement:.2%} of the labels agree"
    assert scores.breach.value == f"scores {report.score_shift:.3g} away"
    flown = preflight.Report((), "golden", 0.1, 0.2, 0.3, 80.0)
    told = reports.preflight_of(flown, report)
    assert not told.passed
    assert "| contract=" in told.flips
    assert told.numbers["shadow_rows"] == 300


def test_a_regression_is_compared_in_standard_deviations(
    numbers: tuple[Built, Built], store: DataStore, clock: Clock
) -> None:
    first, second = numbers
    logged(first, store)
    rows = gathered(store, clock)
    same = shadow.compare(rows, first.folder, spec=ShadowSpec(), slices=SLICES)
    assert (same.agreement, same.flips) == (None, ())
    assert same.score_shift < 1e-9
    other = shadow.compare(rows, second.folder, spec=ShadowSpec(max_score_shift=0), slices=())
    assert not other.passed
    assert other.score_shift <= other.largest_shift


def test_the_newest_rows_are_taken_and_old_ones_are_not(
    one: Built, store: DataStore, clock: Clock
) -> None:
    for hours in (0, 1, 30):
        logged(one, store, rows=100, when=NOW - timedelta(hours=hours))
    assert len(gathered(store, clock, rows=1000)) == 200
    newest = gathered(store, clock, rows=100)
    assert set(newest["request_id"]) == {f"r-{NOW:%H%M}"}
    assert len(gathered(store, clock, rows=30)) == 30


def test_it_waits_for_rows_as_long_as_the_yaml_says(
    one: Built, store: DataStore, clock: Clock
) -> None:
    assert gathered(store, clock, rows=10, wait_s=120) is None
    assert clock.at == NOW + timedelta(seconds=120)
    logged(one, store, rows=5)
    before = clock.at
    assert len(gathered(store, clock, rows=10, wait_s=60)) == 5, "few are enough in the end"
    assert clock.at == before + timedelta(seconds=60)
    assert len(gathered(store, clock, rows=5, wait_s=60)) == 5
    assert clock.at == before + timedelta(seconds=60), "it waited with enough rows at hand"


def test_a_candidate_of_other_columns_is_an_error_with_the_column(
    one: Built, store: DataStore, clock: Clock
) -> None:
    logged(one, store)
    rows = gathered(store, clock).drop(columns=["charges"])
    with pytest.raises(ShadowError, match="no column 'charges'"):
        shadow.compare(rows, one.folder, spec=ShadowSpec(), slices=())


def test_the_layout_is_that_of_the_prediction_store(one: Built, store: DataStore) -> None:
    logged(one, store)
    found = PredictionStore(store).increments(
        "churn", 1, ["local"], since=NOW - timedelta(days=1), until=NOW + timedelta(days=1)
    )
    assert len(found) == 1
