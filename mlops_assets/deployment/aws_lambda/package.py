"""A Lambda function's code as a zip: the serving room, the distributions it needs, and a bundle.

The same input makes the same bytes, so that the digest says whether anything is to be deployed.
"""

import base64
import hashlib
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import mlops_assets
from mlops_assets.deployment import distributions
from mlops_assets.deployment.distributions import Machine, PackageError, Platform
from mlops_assets.serving import bundle as bundles

Runtime = Literal["python3.11", "python3.12"]

HANDLER = "mlops_assets.serving.aws_lambda.handler"
GLIBC: dict[Runtime, int] = {"python3.11": 26, "python3.12": 34}
"""Of Amazon Linux 2 and 2023, on which these runtimes stand."""
ROOT = "/var/task"
"""Where Lambda unpacks it."""
BUNDLE = "bundle"
LARGEST = 250 * 1024 * 1024
"""Bytes that Lambda takes unpacked, layers included."""
LARGEST_UPLOAD = 50 * 1024 * 1024
"""Bytes of a zip that can be sent with the call itself; a larger one goes through S3."""
YEAR = (1980, 1, 1, 0, 0, 0)
SHOWN = 6


@dataclass(frozen=True)
class Package:
    """A zip, ready to be uploaded."""

    path: Path
    sha256: str
    """In base64, as Lambda's `CodeSha256` has it."""
    size: int
    """Bytes of the zip."""
    unzipped: int
    compiled: bool
    """Whether it brings bytecode; a cold start takes longer without."""

    @property
    def digest(self) -> str:
        return base64.b64decode(self.sha256).hex()

    @property
    def uploads_directly(self) -> bool:
        return self.size <= LARGEST_UPLOAD


def platform_of(runtime: Runtime, machine: Machine) -> Platform:
    """Where functions of a managed runtime run."""
    return Platform(machine, runtime.removeprefix("python"), GLIBC[runtime])


def build(
    target: Path,
    bundle: Path,
    *,
    where: Platform,
    stores: Iterable[str] = (),
    extra: Iterable[str] = (),
) -> Package:
    """Write the zip to `target`.

    Args:
        target: path of the zip.
        bundle: folder of the bundle; it stands as `bundle` beside the code, where the handler
            looks for it.
        where: the function's platform.
        stores: protocols of the URLs that recorded traffic goes to, such as `s3`.
        extra: distributions that the bundle's estimator needs beyond scikit-learn.

    Raises:
        PackageError: something is not to be had for that platform, or the whole is too large.
        BundleError: the bundle is not intact.
    """
    manifest = bundles.verify(bundle)
    with TemporaryDirectory(prefix="mlops-lambda-package-") as name:
        folder = Path(name)
        names = distributions.needed(manifest.runtime, stores=stores, extra=extra)
        compiled = stage(folder, names, where)
        shutil.copytree(bundle, folder / BUNDLE)
        if compiled and _sizes(folder).total() > LARGEST:
            compiled = False
            for path in [*folder.rglob("*.pyc")]:
                path.unlink()
        unzipped = _weigh(folder)
        _zip(folder, target)
    content = target.read_bytes()
    sha256 = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return Package(target, sha256, len(content), unzipped, compiled)


def stage(folder: Path, names: Iterable[str], where: Platform) -> bool:
    """The room and these distributions as files in `folder`; whether bytecode is among them.

    Raises:
        PackageError: something is not to be had for that platform.
    """
    distributions.collect(names, folder, where)
    package = Path(mlops_assets.__file__).parent
    room = folder / package.name
    room.mkdir()
    shutil.copy(package / "__init__.py", room)
    shutil.copytree(
        package / "serving", room / "serving", ignore=shutil.ignore_patterns("__pycache__")
    )
    return distributions.compile_all(folder, root=ROOT, python=where.python)


def _weigh(folder: Path) -> int:
    """Bytes of everything.

    Raises:
        PackageError: more than Lambda takes, and what is largest.
    """
    sizes = _sizes(folder)
    total = sizes.total()
    if total > LARGEST:
        largest = ", ".join(f"{n} {s / 1e6:.0f} MB" for n, s in sizes.most_common(SHOWN))
        raise PackageError(
            f"the package has {total / 1e6:.0f} MB unpacked and Lambda takes {LARGEST / 1e6:.0f}: "
            f"{largest}; serve this model as an image, or export it as ONNX"
        )
    return total


def _sizes(folder: Path) -> Counter[str]:
    """Bytes by what stands at the top."""
    sizes: Counter[str] = Counter()
    for path in _files(folder):
        sizes[path.relative_to(folder).parts[0]] += path.stat().st_size
    return sizes


def _zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), YEAR)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


def _files(folder: Path) -> list[Path]:
    return sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.as_posix())
