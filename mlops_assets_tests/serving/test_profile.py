import threading
import time
from datetime import UTC, datetime, timedelta

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mlops_assets.serving import profile
from mlops_assets.serving.profiler import Profiler, window_start
from mlops_assets.serving.scorer import Scores
from mlops_assets_tests.builders import SCHEMA, make_columns

NOON = datetime(2026, 5, 3, 12, 30, 10, tzinfo=UTC)
METADATA = {"model": "churn", "version": "3"}


def answers(rows):
    return Scores(["Yes"] * rows, [[0.25, 0.75]] * rows)


def profiler_to(url, tmp_path, **changes):
    return Profiler(
        SCHEMA,
        url=str(url),
        window_seconds=3600,
        spool=tmp_path / "unsent",
        metadata=METADATA,
        **{"flush_seconds": 10.0, **changes},
    )


def files_of(folder):
    return sorted(folder.glob("*/*.bin"))


def read(paths):
    return profile.merge(profile.deserialize(path.read_bytes()) for path in paths)


def test_features_and_outputs_are_tracked_with_their_types():
    rows = 200
    columns = make_columns(rows, seed=0)
    one = profile.new_profile(NOON, metadata=METADATA)
    profile.track(one, SCHEMA, columns, answers(rows))
    view = profile.deserialize(profile.serialize(one))
    summary = {name: column.to_summary_dict() for name, column in view.get_columns().items()}
    assert set(summary) == {*SCHEMA.names, "prediction", "probability"}
    assert {s["counts/n"] for s in summary.values()} == {rows}
    assert summary["charges"]["counts/null"] == columns["charges"].count(None) > 0
    assert summary["tenure"]["types/fractional"] == rows
    assert summary["contract"]["types/string"] == rows - columns["contract"].count(None)
    words = {item.value: item.est for item in summary["senior"]["frequent_items/frequent_strings"]}
    assert words == {"true": columns["senior"].count(True), "false": columns["senior"].count(False)}
    assert summary["probability"]["distribution/mean"] == 0.75
    assert view.dataset_timestamp == NOON
    assert view.metadata["version"] == "3"


def test_regression_is_tracked_as_numbers_and_several_classes_by_the_predicted_one():
    columns = make_columns(2, seed=0)
    one = profile.new_profile(NOON)
    profile.track(one, SCHEMA, columns, Scores([1.5, 2.5], []))
    summary = one.view().get_column("prediction").to_summary_dict()
    assert (summary["distribution/mean"], summary["types/fractional"]) == (2.0, 2)
    assert one.view().get_column("probability") is None
    other = profile.new_profile(NOON)
    profile.track(other, SCHEMA, columns, Scores([True, 3], [[0.1, 0.7, 0.2], [0.1, 0.3, 0.6]]))
    labels = other.view().get_column("prediction").to_summary_dict()
    values = {item.value for item in labels["frequent_items/frequent_strings"]}
    assert values == {"true", "3"}
    mean = other.view().get_column("probability").to_summary_dict()["distribution/mean"]
    assert mean == pytest.approx(0.65)


def test_merging_adds_rows_and_garbage_is_refused():
    parts = []
    for rows in (5, 7, 11):
        one = profile.new_profile(NOON)
        profile.track(one, SCHEMA, make_columns(rows, seed=rows), answers(rows))
        parts.append(profile.serialize(one))
    assert profile.rows(profile.merge(map(profile.deserialize, parts))) == 23
    with pytest.raises(ValueError, match="no whylogs profile"):
        profile.deserialize(b"garbage")
    with pytest.raises(ValueError, match="no profile to merge"):
        profile.merge([])


def test_windows_start_at_multiples_of_their_length():
    assert window_start(NOON, 3600) == datetime(2026, 5, 3, 12, tzinfo=UTC)
    assert window_start(NOON, 60) == datetime(2026, 5, 3, 12, 30, tzinfo=UTC)
    sunday = datetime(2026, 5, 3, 23, 59, tzinfo=UTC)
    assert window_start(sunday, 604_800) == datetime(2026, 4, 27, tzinfo=UTC)
    assert window_start(sunday, 86_400) == datetime(2026, 5, 3, tzinfo=UTC)


def test_closing_leaves_every_row_in_its_window(tmp_path):
    profiler = profiler_to(tmp_path / "store", tmp_path)
    for index in range(60):
        when = NOON + timedelta(hours=index % 2)
        profiler.submit(make_columns(3, seed=index), answers(3), when)
    profiler.start()
    profiler.close()
    by_window = {}
    for path in files_of(tmp_path / "store"):
        by_window.setdefault(path.parent.name, []).append(path)
    counts = {window: profile.rows(read(paths)) for window, paths in by_window.items()}
    assert counts == {"20260503T120000Z": 90, "20260503T130000Z": 90}
    assert (profiler.pending_rows, profiler.dropped_rows) == (0, 0)
    assert not list(tmp_path.rglob("*.tmp"))


def test_increments_are_flushed_while_rows_come_from_several_threads(tmp_path):
    profiler = profiler_to(tmp_path / "store", tmp_path, flush_seconds=0.1)
    profiler.start()

    def send():
        for index in range(50):
            profiler.submit(make_columns(2, seed=index), answers(2), NOON)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end = time.monotonic() + 20
    while profiler.last_flush is None and time.monotonic() < end:
        time.sleep(0.02)
    assert files_of(tmp_path / "store"), "nothing was flushed before the end"
    profiler.submit(make_columns(1, seed=0), answers(1), NOON)
    profiler.close()
    paths = files_of(tmp_path / "store")
    assert len(paths) >= 2
    assert profile.rows(read(paths)) == 401


def test_a_full_queue_drops_rows_and_counts_them(tmp_path):
    profiler = profiler_to(tmp_path / "store", tmp_path, max_pending_rows=10)
    for _ in range(4):
        profiler.submit(make_columns(4, seed=0), answers(4), NOON)
    assert (profiler.pending_rows, profiler.dropped_rows) == (8, 8)
    profiler.close()
    assert profile.rows(read(files_of(tmp_path / "store"))) == 8


def test_a_store_that_fails_gets_everything_once_when_it_works_again(tmp_path):
    store = tmp_path / "store"
    store.write_text("a file where a folder should be")
    profiler = profiler_to(store, tmp_path, flush_seconds=0.05)
    profiler.start()
    sent = 0
    end = time.monotonic() + 20
    while profiler.flush_failures < 2 and time.monotonic() < end:
        profiler.submit(make_columns(5, seed=0), answers(5), NOON)
        sent += 5
        time.sleep(0.1)
    assert profiler.flush_failures >= 2
    store.unlink()
    profiler.close()
    assert profile.rows(read(files_of(store))) == sent
    assert files_of(tmp_path / "unsent") == []


def test_what_the_store_never_took_is_spooled_and_sent_by_the_next_process(tmp_path):
    store = tmp_path / "store"
    store.write_text("a file where a folder should be")
    first = profiler_to(store, tmp_path)
    first.submit(make_columns(6, seed=0), answers(6), NOON)
    first.close()
    assert len(files_of(tmp_path / "unsent")) == 1
    store.unlink()
    second = profiler_to(store, tmp_path)
    second.submit(make_columns(1, seed=1), answers(1), NOON)
    second.close()
    assert profile.rows(read(files_of(store))) == 7
    assert files_of(tmp_path / "unsent") == []


def test_any_fsspec_store_will_do(tmp_path):
    profiler = profiler_to("memory://profiles/churn", tmp_path)
    profiler.submit(make_columns(2, seed=0), answers(2), NOON)
    profiler.close()
    store = fsspec.filesystem("memory")
    assert isinstance(store, MemoryFileSystem)
    (path,) = store.glob("/profiles/churn/20260503T120000Z/*.bin")
    assert profile.rows(profile.deserialize(store.cat_file(path))) == 2
