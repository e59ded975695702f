"""Where profiles are found again: all targets, one version or one hour."""

from datetime import UTC, datetime

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import PredictionStore, ProfileStore


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


def test_files_of_all_targets_are_found_oldest_first(tmp_path):
    store = store_with(
        tmp_path,
        "3/local/20260503T080000Z/1.bin",
        "3/local/20260503T090000Z/2.bin",
        "3/local/20260503T100000Z/3.bin",
        "3/kubernetes/20260503T100000Z/4.bin",
        "2/local/20260503T110000Z/5.bin",
    )
    found = store.increments("churn", 3, ["local", "kubernetes"])
    assert [i.window for i in found] == [at(8), at(9), at(10), at(10)]
    names = [i.url.rsplit("/", 1)[1] for i in found]
    assert names == ["1.bin", "2.bin", "4.bin", "3.bin"]


def test_windows_of_another_day_are_found_whichever_version_answered(tmp_path):
    store = store_with(
        tmp_path,
        "3/local/20260503T080000Z/1.bin",
        "2/local/20260503T090000Z/2.bin",
        "2/kubernetes/20260503T080000Z/3.bin",
        "2/local/20260503T080000Z/old/4.bin",
    )
    found = store.starting_at("churn", {at(8)})
    assert {version: [i.url[-5:] for i in files] for version, files in found.items()} == {
        2: ["3.bin"],
        3: ["1.bin"],
    }


def test_without_traffic_there_is_nothing(tmp_path):
    assert store_with(tmp_path).increments("churn", 3, ["local"]) == []


def test_files_under_way_are_left_alone(tmp_path):
    store = store_with(tmp_path, "3/local/20260503T080000Z/1.bin.ab12.partial")
    assert store.increments("churn", 3, ["local"]) == []


def test_files_that_are_nobodys_increment_are_left_alone(tmp_path):
    store = store_with(
        tmp_path,
        "3/local/1.bin",
        "3/local/backup/2.bin",
        "3/local/20260503T080000Z/notes.txt",
        "3/local/20260503T080000Z/old/3.bin",
        "3/local/20260503T080000Z/4.bin",
    )
    (only,) = store.increments("churn", 3, ["local"])
    assert only.url.endswith("/20260503T080000Z/4.bin")


def test_the_prediction_log_is_found_by_version_target_and_windows(tmp_path):
    data = DataStore(str(tmp_path), {})
    for path in (
        "3/local/20260503T080000Z/1.parquet",
        "3/local/20260503T090000Z/2.parquet",
        "3/kubernetes/20260503T100000Z/3.parquet",
        "3/kubernetes/20260503T110000Z/4.parquet",
        "2/local/20260503T090000Z/5.parquet",
        "3/local/20260503T090000Z/6.bin",
    ):
        data.write_bytes(f"churn/predictions/{path}", b"rows")
    store = PredictionStore(data)
    assert store.url_for("churn", 3, "local") == f"{tmp_path}/churn/predictions/3/local"
    found = store.increments("churn", 3, ["local", "kubernetes"], since=at(9), until=at(11))
    assert [i.window for i in found] == [at(9), at(10)]
    assert [i.url.rsplit("/", 1)[1] for i in found] == ["2.parquet", "3.parquet"]
    assert store.increments("churn", 4, ["local"], since=at(0), until=at(23)) == []


def test_the_log_of_every_version_and_target_is_found_between_two_times(tmp_path):
    data = DataStore(str(tmp_path), {})
    for place in ("1/local/20260503T080000Z/a", "2/local/20260503T090000Z/b"):
        data.write_bytes(f"churn/predictions/{place}.parquet", b"rows")
    for place in ("2/kubernetes/20260503T090000Z/c", "2/local/20260503T100000Z/d"):
        data.write_bytes(f"churn/predictions/{place}.parquet", b"rows")
    found = PredictionStore(data).all_between("churn", since=at(8), until=at(10))
    names = {version: [i.url.rsplit("/", 1)[1] for i in files] for version, files in found.items()}
    assert names == {1: ["a.parquet"], 2: ["c.parquet", "b.parquet"]}
