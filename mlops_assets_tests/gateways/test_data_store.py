"""The data store on a folder, on S3, and on a disk that is full."""

import subprocess
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from mlops_assets.gateways.data_store import DataStore, DataStoreError, frame_digest
from mlops_assets_tests.peers import s3

FRAME = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": ["x", None, "z"]})


class Interrupted(pd.DataFrame):
    """A table whose writing is interrupted halfway."""

    def to_parquet(self, file, **_):
        file.write(b"half of it")
        raise KeyboardInterrupt


class DataStoreContract:
    """What holds wherever the root is."""

    @pytest.fixture
    def store(self):
        raise NotImplementedError

    def test_a_table_comes_back_as_it_was(self, store):
        url = store.write_table("churn/snapshots/1.parquet", FRAME)
        pd.testing.assert_frame_equal(store.read_table(url), FRAME)
        assert list(store.read_table(url, columns=["b"])) == ["b"]
        assert store.table_columns(url) == list(FRAME)

    def test_a_table_that_is_there_is_not_written_again(self, store):
        url = store.write_table("t.parquet", FRAME)
        assert store.write_table("t.parquet", FRAME.head(1)) == url
        assert len(store.read_table(url)) == 3

    def test_json_is_replaced(self, store):
        store.write_json("latest.json", {"version": 1})
        url = store.write_json("latest.json", {"version": 2})
        assert store.read_json(url) == {"version": 2}

    def test_files_are_listed_with_size_and_age_and_removed(self, store):
        began = datetime.now(UTC) - timedelta(seconds=5)
        for path in ("churn/profiles/7/w/1.bin", "churn/profiles/70/w/1.bin"):
            store.write_bytes(path, b"four")
        (found,) = store.listed("churn/profiles/7")
        assert (found.path, found.size) == ("churn/profiles/7/w/1.bin", 4)
        assert found.modified is not None
        assert began < found.modified < datetime.now(UTC) + timedelta(seconds=5)
        store.remove(found.path)
        store.remove(found.path)
        assert store.listed("churn/profiles/7") == store.listed("nothing") == []
        assert [one.path for one in store.listed("churn")] == ["churn/profiles/70/w/1.bin"]

    def test_files_are_listed_below_a_folder_only(self, store):
        for path in ("p/1/b.bin", "p/1/a.bin", "p/10/c.bin", "q/d.bin"):
            store.write_bytes(path, b"x")
        assert store.files("p/1") == ["a.bin", "b.bin"]
        assert store.files("p") == ["1/a.bin", "1/b.bin", "10/c.bin"]
        assert store.files("nothing") == []

    def test_what_is_gone_is_named(self, store):
        with pytest.raises(DataStoreError, match=r"nothing\.json is gone"):
            store.read_bytes(store.at("nothing.json"))

    def test_nothing_but_the_files_is_left(self, store):
        store.write_bytes("folder/file.bin", b"x")
        assert store.files("folder") == ["file.bin"]
        assert store.exists("folder/file.bin")
        assert not store.exists("folder/other.bin")

    def test_a_table_that_fails_midway_leaves_nothing(self, store):
        with pytest.raises(Exception, match="Expected bytes"):
            store.write_table("t/bad.parquet", pd.DataFrame({"a": ["text", 1, object()]}))
        assert store.files("t") == []
        assert not store.exists("t/bad.parquet")

    def test_a_write_that_is_interrupted_leaves_what_was_there(self, store):
        store.write_bytes("t/whole.bin", b"before")
        with pytest.raises(KeyboardInterrupt):
            store.write_table("t/half.parquet", Interrupted())
        assert store.files("t") == ["whole.bin"]

    def test_a_file_that_is_no_table_is_named(self, store):
        url = store.write_bytes("t.parquet", b"nonsense")
        for reader in (store.read_table, store.table_columns):
            with pytest.raises(DataStoreError, match=r"t\.parquet cannot be read as a table"):
                reader(url)

    def test_a_column_that_is_not_there_is_named(self, store):
        url = store.write_table("t.parquet", FRAME)
        with pytest.raises(
            DataStoreError, match=r"t\.parquet cannot be read as a table: .*nothere"
        ):
            store.read_table(url, columns=["nothere"])


class TestLocalFolder(DataStoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return DataStore(str(tmp_path / "data"), {})

    def test_a_folder_in_the_way_is_named(self, store, tmp_path):
        (tmp_path / "data" / "file.bin").mkdir(parents=True)
        (tmp_path / "data" / "file").write_bytes(b"")
        with pytest.raises(DataStoreError, match=r"file/x\.bin cannot be written"):
            store.write_bytes("file/x.bin", b"x")
        with pytest.raises(DataStoreError, match=r"file\.bin cannot be read"):
            store.read_bytes(store.at("file.bin"))


@pytest.fixture(scope="module")
def peer():
    with s3.running() as running:
        running.create_bucket("data")
        yield running


@pytest.mark.peer
class TestS3(DataStoreContract):
    @pytest.fixture
    def store(self, peer, request):
        return DataStore(f"s3://data/{request.node.name}", peer.storage_options)

    def test_what_others_write_and_remove_is_seen(self, store, peer):
        root = store.url.removeprefix("s3://data/")
        store.write_bytes("p/1.bin", b"1")
        assert store.files("p") == ["1.bin"]
        peer.put("data", f"{root}/p/2.bin", b"2")
        assert store.files("p") == ["1.bin", "2.bin"]
        assert store.exists("p/2.bin")
        peer.client().delete_object(Bucket="data", Key=f"{root}/p/1.bin")
        assert not store.exists("p/1.bin")

    def test_a_bucket_that_is_not_there_is_not_made(self, peer):
        misspelt = DataStore("s3://daat/root", peer.storage_options)
        with pytest.raises(DataStoreError, match=r"s3://daat/root/x\.bin cannot be written"):
            misspelt.write_bytes("x.bin", b"x")
        assert [b["Name"] for b in peer.client().list_buckets()["Buckets"]] == ["data"]


@pytest.mark.peer
def test_a_store_that_does_not_answer_is_named():
    with s3.running() as gone:
        options = {**gone.storage_options, "config_kwargs": {"retries": {"max_attempts": 0}}}
    store = DataStore("s3://data/root", options)
    for ask in (
        lambda: store.read_bytes(store.at("x.bin")),
        lambda: store.write_bytes("x.bin", b"x"),
        lambda: store.exists("x.bin"),
        lambda: store.files(""),
    ):
        with pytest.raises(DataStoreError, match=r"^s3://data/root/.*endpoint"):
            ask()


@pytest.mark.peer
def test_a_full_disk_names_the_file_and_keeps_what_was_there(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        store = DataStore(str(disk), {})
        kept = store.write_bytes("small.bin", b"kept")
        with pytest.raises(DataStoreError, match=r"large\.bin cannot be written: .*No space left"):
            store.write_bytes("large.bin", b"x" * 1_000_000)
        assert store.files("") == ["small.bin"]
        assert store.read_bytes(kept) == b"kept"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_equal_frames_have_equal_digests():
    assert frame_digest(FRAME) == frame_digest(FRAME.copy())


@pytest.mark.parametrize(
    "other",
    [
        FRAME.rename(columns={"a": "c"}),
        FRAME.assign(a=[1.0, 2.0, 3.0]),
        FRAME.iloc[::-1],
        FRAME[["b", "a"]],
        FRAME.assign(a=FRAME["a"].astype("float32")),
        FRAME.head(2),
    ],
)
def test_different_frames_have_different_digests(other):
    assert frame_digest(other) != frame_digest(FRAME)
