"""A bundle comes from where fsspec reaches, whole and the right one, or not at all."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.serving import bundle, fetching
from mlops_assets.serving.bundle import BundleError
from mlops_assets_tests.builders import Built
from mlops_assets_tests.peers import s3 as s3_peer

OTHER = "0" * 64


def archived(built: Built, path: Path, *, inside: str = ".") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(built.folder, inside)
    return path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "endpoint" / "bundle"


@pytest.mark.parametrize("inside", [".", "", "churn", "./churn"])
def test_an_archive_is_unpacked(binary, tmp_path, into, inside):
    url = str(archived(binary, tmp_path / "model.tar.gz", inside=inside))
    fetching.fetch(url, digest=binary.digest, into=into)
    assert bundle.verify(into) == binary.manifest
    assert [path.name for path in into.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("url", ["memory://models/churn", "memory://models/churn/"])
def test_a_folder_of_a_store_is_copied_by_its_manifest(binary, into, url):
    import fsspec

    store = fsspec.filesystem("memory")
    for path in binary.folder.iterdir():
        store.pipe_file(f"/models/churn/{path.name}", path.read_bytes())
    store.pipe_file("/models/churn/unknown.pkl", b"x")
    fetching.fetch(url, digest=binary.digest, into=into)
    assert bundle.verify(into) == binary.manifest


def test_another_bundle_is_refused_and_not_left_behind(binary, tmp_path, into):
    url = str(archived(binary, tmp_path / "model.tar.gz"))
    with pytest.raises(BundleError, match=f"digest {binary.digest}, {OTHER} was to be served"):
        fetching.fetch(url, digest=OTHER, into=into)
    assert list(into.parent.iterdir()) == []


def test_a_copy_is_kept_while_it_is_what_is_asked_for(binary, regression, tmp_path, into):
    url = str(archived(binary, tmp_path / "model.tar.gz"))
    fetching.fetch(url, digest=binary.digest, into=into)
    Path(url).unlink()
    fetching.fetch(url, digest=binary.digest, into=into)
    with pytest.raises(BundleError, match="cannot be fetched"):
        fetching.fetch(url, digest=regression.digest, into=into)


def test_a_damaged_copy_is_fetched_anew(binary, tmp_path, into):
    url = str(archived(binary, tmp_path / "model.tar.gz"))
    fetching.fetch(url, digest=binary.digest, into=into)
    (into / "golden.json").write_text("{}")
    fetching.fetch(url, digest=binary.digest, into=into)
    assert bundle.verify(into) == binary.manifest


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../escaped.json"),
        tarfile.TarInfo("/absolute.json"),
        tarfile.TarInfo("deep/deeper/golden.json"),
        tarfile.TarInfo(".."),
    ],
    ids=lambda member: member.name,
)
def test_a_file_out_of_place_is_refused(tmp_path, into, member):
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("manifest.json"), io.BytesIO())
        archive.addfile(member, io.BytesIO())
    with pytest.raises(BundleError):
        fetching.fetch(str(path), digest=None, into=into)
    assert list(into.parent.iterdir()) == []
    assert not (into.parent.parent / "escaped.json").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_only_files_come_out_of_an_archive(tmp_path, into, kind):
    path = tmp_path / "model.tar.gz"
    member = tarfile.TarInfo("model.onnx")
    member.type, member.linkname = kind, "/etc/hostname"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member)
    with pytest.raises(BundleError, match=r"'model\.onnx' has no place"):
        fetching.fetch(str(path), digest=None, into=into)


def test_a_manifest_cannot_name_files_elsewhere(binary, tmp_path, into):
    import json

    import fsspec

    content = json.loads((binary.folder / "manifest.json").read_text())
    content["files"]["../escaped"] = OTHER
    store = fsspec.filesystem("memory")
    store.pipe_file("/models/bad/manifest.json", json.dumps(content).encode())
    for name in binary.manifest.files:
        store.pipe_file(f"/models/bad/{name}", (binary.folder / name).read_bytes())
    with pytest.raises(BundleError, match="no name of a bundle's file"):
        fetching.fetch("memory://models/bad", digest=None, into=into)


@pytest.fixture(scope="module")
def s3() -> Iterator[s3_peer.S3]:
    with s3_peer.running() as server:
        server.create_bucket("models")
        yield server


@pytest.mark.peer
class TestS3:
    @pytest.fixture(autouse=True)
    def _keys(self, s3, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_peer.KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_peer.SECRET)
        monkeypatch.setenv("AWS_DEFAULT_REGION", s3_peer.REGION)

    def test_folder_and_archive(self, s3, binary, tmp_path, into):
        for path in binary.folder.iterdir():
            s3.put("models", f"churn/{path.name}", path.read_bytes())
        packed = archived(binary, tmp_path / "model.tar.gz").read_bytes()
        s3.put("models", "churn.tar.gz", packed)
        for url in ("s3://models/churn", "s3://models/churn.tar.gz"):
            fetching.fetch(url, digest=binary.digest, into=into)
            assert bundle.verify(into) == binary.manifest
            shutil.rmtree(into)

    def test_what_is_not_there_is_named(self, into, capsys):
        assert fetching.main(["s3://models/none", "", str(into)]) == 1
        assert "Error: s3://models/none cannot be fetched: FileNotFoundError" in (
            capsys.readouterr().err
        )
