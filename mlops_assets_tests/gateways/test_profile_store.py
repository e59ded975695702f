"""Where profiles are found again: newest windows, all targets, one version."""

from datetime import UTC, datetime

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import WINDOW_FORMAT, ProfileStore
from mlops_assets.serving.profiler import STAMP


def at(hour):
    return datetime(2026, 5, 3, hour, tzinfo=UTC)


def store_with(tmp_path, *paths):
    data = DataStore(str(tmp_path), {})
    for path in paths:
        data.write_bytes(f"churn/profiles/{path}", b"profile")
    return ProfileStore(data)


def test_an_endpoint_writes_below_its_version_and_target(tmp_path):
    url = store_with(tmp_path).url_for("churn", 3, "local")
    assert url == f"{tmp_path}/churn/profiles/3/local"


def test_the_newest_windows_of_all_targets_are_found_oldest_first(tmp_path):
    store = store_with(
        tmp_path,
        "3/local/20260503T080000Z/1.bin",
        "3/local/20260503T090000Z/2.bin",
        "3/local/20260503T100000Z/3.bin",
        "3/kubernetes/20260503T100000Z/4.bin",
        "2/local/20260503T110000Z/5.bin",
    )
    found = store.increments("churn", 3, ["local", "kubernetes"], windows=2)
    assert [i.window for i in found] == [at(9), at(10), at(10)]
    assert {i.url.rsplit("/", 1)[1] for i in found} == {"2.bin", "3.bin", "4.bin"}


def test_without_traffic_there_is_nothing(tmp_path):
    assert store_with(tmp_path).increments("churn", 3, ["local"], windows=24) == []


def test_files_under_way_are_left_alone(tmp_path):
    store = store_with(tmp_path, "3/local/20260503T080000Z/1.bin.ab12.partial")
    assert store.increments("churn", 3, ["local"], windows=24) == []


def test_files_that_are_nobodys_increment_are_left_alone(tmp_path):
    store = store_with(
        tmp_path,
        "3/local/1.bin",
        "3/local/backup/2.bin",
        "3/local/20260503T080000Z/notes.txt",
        "3/local/20260503T080000Z/old/3.bin",
        "3/local/20260503T080000Z/4.bin",
    )
    (only,) = store.increments("churn", 3, ["local"], windows=24)
    assert only.url.endswith("/20260503T080000Z/4.bin")


def test_endpoints_name_windows_as_they_are_read_here():
    assert STAMP == WINDOW_FORMAT
