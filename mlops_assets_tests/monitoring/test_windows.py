"""Windows are merged once, whatever is late, repeated or broken; and gathered until they tell."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import ProfileStore
from mlops_assets.gateways.records import ProfiledWindow, ServingProfile
from mlops_assets.monitoring import profiles
from mlops_assets.monitoring.files import Found
from mlops_assets.monitoring.windows import collect, judged, same_hours
from mlops_assets.serving.contents import Contents
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.schema import InputSchema

EIGHT, NINE = "20260503T080000Z", "20260503T090000Z"


def profile(rows, *, seed=0):
    made = Profile(InputSchema(()), when=datetime(2026, 5, 3, tzinfo=UTC))
    numbers = np.random.default_rng(seed).normal(size=rows)
    made.add(Contents(rows, {"x": numbers, "plan": Counter({"basic": rows})}))
    return made.serialize()


@pytest.fixture
def store(tmp_path):
    return DataStore(str(tmp_path), {})


def flush(store, content, window=EIGHT, name="1", target="local"):
    store.write_bytes(f"churn/profiles/3/{target}/{window}/{name}.bin", content)


def collected(store):
    increments = ProfileStore(store).increments("churn", 3, ["local", "kubernetes"])
    return collect(store, "churn", 3, Found.of(increments, ()))


def rows(store):
    return {window.start[11:16]: window.rows for window in collected(store).windows}


def test_replicas_and_targets_of_a_window_add_up(store):
    flush(store, profile(10, seed=1))
    flush(store, profile(20, seed=2), name="2")
    flush(store, profile(30, seed=3), target="kubernetes")
    flush(store, profile(5, seed=4), window=NINE)
    assert rows(store) == {"08:00": 60, "09:00": 5}
    (eight, _) = collected(store).windows
    assert profiles.rows(profiles.deserialize(store.read_bytes(eight.url))) == 60


def test_a_file_that_was_sent_twice_counts_once(store):
    again = profile(10)
    flush(store, again)
    flush(store, again, name="2")
    assert rows(store) == {"08:00": 10}


def test_a_late_file_is_merged_too_and_what_is_merged_is_not_merged_again(store):
    flush(store, profile(10, seed=1))
    first = collected(store)
    assert collected(store) == first
    flush(store, profile(7, seed=2), name="late")
    assert rows(store) == {"08:00": 17}
    # The files themselves are not asked again: what was merged stands on its own.
    for number in ("1", "late"):
        store.write_bytes(f"churn/profiles/3/local/{EIGHT}/{number}.bin", b"overwritten")
    assert rows(store) == {"08:00": 17}


def test_a_file_that_is_no_profile_is_named_and_stops_no_other(store):
    flush(store, profile(10))
    flush(store, b"garbage", name="2")
    flush(store, b"", window=NINE)
    found = collected(store)
    assert [window.rows for window in found.windows] == [10]
    assert sorted(url[-len(f"{EIGHT}/2.bin") :] for url in found.unreadable) == [
        f"{EIGHT}/2.bin",
        f"{NINE}/1.bin",
    ]
    assert collected(store) == found


def test_a_merge_that_was_cut_off_is_done_again(store):
    flush(store, profile(10))
    (window,) = collected(store).windows
    # What a kill leaves: the profile half there, and not yet the record that commits it.
    path = window.url.removeprefix(f"{store.url}/")
    store.remove(path.replace(".bin", ".json"))
    store.write_bytes(path, b"half")
    assert rows(store) == {"08:00": 10}
    assert profiles.rows(profiles.deserialize(store.read_bytes(window.url))) == 10


def test_profiles_of_another_schema_merge_column_by_column(store):
    other = Profile(InputSchema(()), when=datetime(2026, 5, 3, tzinfo=UTC))
    other.add(Contents(4, {"x": np.arange(4.0), "region": Counter({"north": 4})}))
    flush(store, profile(10))
    flush(store, other.serialize(), name="2")
    (window,) = collected(store).windows
    view = profiles.deserialize(store.read_bytes(window.url))
    counts = {name: c.get_metric("counts").n.value for name, c in view.get_columns().items()}
    assert counts == {"x": 14, "plan": 10, "region": 4}


def test_a_file_that_was_cut_off_counts_once_it_is_written_again(store):
    whole = profile(100)
    flush(store, whole[: len(whole) // 2])
    assert (len(collected(store).unreadable), collected(store).windows) == (1, ())
    flush(store, whole)
    again = collected(store)
    assert again.unreadable == ()
    assert [window.rows for window in again.windows] == [100]


def serving(made, *, still_open=None):
    return ServingProfile(3, tuple(made), (), made[0].start if made else "", (), (), {}, still_open)


def test_the_window_that_is_not_over_counts_where_there_is_nothing_else():
    made = windows(500, 400, 300)
    found = judged(serving(made, still_open=made[-1].start), min_rows=200, most=5)
    assert [unit[0].rows for unit in found] == [500, 400]
    found = judged(serving(made[-1:], still_open=made[-1].start), min_rows=200, most=5)
    assert [unit[0].rows for unit in found] == [300]


def windows(*counts):
    first = datetime(2026, 5, 3, tzinfo=UTC)
    return [
        ProfiledWindow((first + timedelta(hours=hour)).isoformat(), 3, count, f"{hour}.bin")
        for hour, count in enumerate(counts)
    ]


@given(st.lists(st.integers(1, 400), max_size=30), st.integers(20, 500), st.integers(1, 6))
def test_what_is_judged_as_one_holds_enough_rows_and_no_window_twice(counts, min_rows, most):
    made = windows(*counts)
    found = judged(serving(made), min_rows=min_rows, most=most)
    flat = [window for unit in found for window in unit]
    assert len(found) <= most
    # The newest windows, without a gap, each in one unit.
    assert flat == made[len(made) - len(flat) :]
    for unit in found:
        assert sum(w.rows for w in unit) >= min_rows
        # And no more of them than it takes.
        assert sum(w.rows for w in unit[1:]) < min_rows
    if len(found) < most:
        assert sum(w.rows for w in made[: len(made) - len(flat)]) < min_rows


def test_the_same_hours_are_those_of_the_other_day():
    yesterday = windows(*range(1, 25))
    today = [
        ProfiledWindow((datetime.fromisoformat(w.start) + timedelta(days=1)).isoformat(), 4, 9, "")
        for w in yesterday[8:10]
    ]
    assert same_hours(today, yesterday, timedelta(days=1)) == tuple(yesterday[8:10])
    assert same_hours(today, yesterday[:9], timedelta(days=1)) == (yesterday[8],)
