"""The distributions an endpoint's program needs, and their files for the platform it will run on:
those of this environment where they fit, or wheels of the same versions. Imports nothing of them.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Literal

Machine = Literal["x86_64", "arm64"]

WHEEL_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
SERVING = (
    "arro3-core",
    "arro3-io",
    "fsspec",
    "mangum",
    "msgspec",
    "numpy",
    "prometheus-client",
    "typing-extensions",
    "whylogs-sketching",
)
"""What `mlops_assets.serving` imports on an endpoint, whatever the bundle's runtime."""
RUNTIMES = {"onnx": ("onnxruntime",), "sklearn": ("pandas", "scikit-learn", "skops")}
STORES = {"s3": ("s3fs",)}
"""What fsspec needs for a store, by the protocol of its URLs."""
ALONE = frozenset({*SERVING, "onnxruntime"})
"""Those whose dependencies are not needed: onnxruntime names some that only its tools import."""

PRUNED_FOLDERS = frozenset({"tests", "__pycache__", "include", "bin"})
PRUNED_FILES = ("*.pyi", "*.pxd", "*.pyx", "*.c", "*.h", "*.hpp", "*.a", "*.pyc")
PRUNED_PATHS = (
    *(f"onnxruntime/{name}/*" for name in ("tools", "transformers", "quantization", "datasets")),
    "onnxruntime/capi/libonnxruntime.so*",  # for programs in C; Python's module has its own copy
)
AWS_DATA = (
    "_retry.json",
    "endpoints.json",
    "partitions.json",
    "s3",
    "sdk-default-configuration.json",
    "sts",
)
"""Of botocore's descriptions of services, what reaching S3 takes."""
KEPT_METADATA = ("METADATA", "entry_points.txt", "licenses", "LICENSE*")
"""Of the rest, some depends on who installed it."""

OLDEST_GLIBC = 17
TIMEOUT = 600


class PackageError(Exception):
    """A package cannot be built; the message says what stands in the way."""


@dataclass(frozen=True)
class Platform:
    """Where a program is to run: Linux on a machine, with a Python and a C library."""

    machine: Machine
    python: str
    """As in `3.12`."""
    glibc: int
    """The second number of the C library's version, as 34 of 2.34."""

    @classmethod
    def here(cls) -> "Platform":
        """Of this process.

        Raises:
            PackageError: it does not run on such a platform.
        """
        machines: dict[str, Machine] = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
        library, version = platform.libc_ver()
        machine = machines.get(platform.machine())
        if library != "glibc" or machine is None:
            raise PackageError(f"{platform.platform()} is no Linux that an endpoint runs on")
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return cls(machine, python, int(version.split(".")[1]))

    def runs(self, tags: Iterable[str]) -> bool:
        """Whether a wheel with these tags works here, as far as its machine and C library go."""
        platforms = [tag.rpartition("-")[2] for tag in tags]
        return "any" in platforms or any(self._has(one) for one in platforms)

    def _has(self, wheel_platform: str) -> bool:
        found = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", wheel_platform)
        found = found or re.fullmatch(r"manylinux20(1)4_(\w+)", wheel_platform)
        if found is None or found[2] != WHEEL_MACHINES[self.machine]:
            return False
        oldest = OLDEST_GLIBC if "manylinux2014" in wheel_platform else int(found[1])
        return oldest <= self.glibc


def needed(runtime: str, *, stores: Iterable[str] = (), extra: Iterable[str] = ()) -> list[str]:
    """Names of all distributions that serve bundles of this runtime, in order.

    Args:
        runtime: of the bundle's manifest.
        stores: protocols of the URLs that profiles and logs go to.
        extra: further ones, with what they depend on.
    """
    asked = [*RUNTIMES[runtime], *extra]
    for protocol in stores:
        asked += STORES.get(protocol, ())
    found = {_canonical(name) for name in SERVING}
    for name in asked:
        _add(_canonical(name), found)
    return sorted(found)


def collect(names: Iterable[str], folder: Path, where: Platform) -> None:
    """Put the files of these distributions, in the versions of this environment, into `folder`.

    Raises:
        PackageError: one is not installed, or has no files for that platform.
    """
    versions = {name: _installed(name).version for name in names}
    here = Platform.here()
    if (here.machine, here.python) == (where.machine, where.python):
        for name in versions:
            _copy(_installed(name), folder, where)
        return
    with TemporaryDirectory(prefix="mlops-wheels-") as wheels:
        _download(versions, Path(wheels), where)
        for wheel in sorted(Path(wheels).glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                _place(archive.namelist(), folder, archive.read)


def pruned(path: str) -> bool:
    """Whether a file of a distribution is one that no endpoint reads."""
    parts = PurePosixPath(path).parts
    if PRUNED_FOLDERS & {*parts[:-1]} or parts[0].endswith(".data"):
        return True
    if parts[0].endswith(".dist-info"):
        return not any(fnmatch(parts[1], kept) for kept in KEPT_METADATA)
    if parts[:2] == ("botocore", "data") and parts[2] not in AWS_DATA:
        return True
    name = parts[-1]
    return any(fnmatch(name, p) for p in PRUNED_FILES) or any(
        fnmatch(path, p) for p in PRUNED_PATHS
    )


def _copy(distribution: importlib.metadata.Distribution, folder: Path, where: Platform) -> None:
    name = distribution.metadata["Name"]
    tags = re.findall(r"^Tag: (.+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    if not where.runs(tags):
        raise PackageError(
            f"{name} {distribution.version} is installed for {', '.join(tags)}, which a system "
            f"with glibc 2.{where.glibc} on {where.machine} cannot load"
        )
    files = [str(file) for file in distribution.files or []]
    if not files:
        raise PackageError(f"{name} does not say which files are its own")
    _place(files, folder, lambda path: Path(str(distribution.locate_file(path))).read_bytes())


def _place(paths: Iterable[str], folder: Path, read: Callable[[str], bytes]) -> None:
    for path in paths:
        # What lies outside the packages are programs of the command line.
        if path.endswith("/") or path.startswith(("..", "/")) or pruned(path):
            continue
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read(path))


def _download(versions: dict[str, str], folder: Path, where: Platform) -> None:
    machine = WHEEL_MACHINES[where.machine]
    platforms = [f"manylinux_2_{n}_{machine}" for n in range(where.glibc, OLDEST_GLIBC - 1, -1)]
    platforms.append(f"manylinux2014_{machine}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={where.python}"]
    command += [f"--platform={one}" for one in platforms]
    command += [f"--dest={folder}", *(f"{name}=={version}" for name, version in versions.items())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"the wheels were not downloaded within {TIMEOUT} s") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        said = "; ".join(errors or done.stderr.splitlines()[-3:])
        raise PackageError(f"no wheels for Python {where.python} on {where.machine}: {said}")


def compile_all(folder: Path, *, root: str, python: str) -> bool:
    """Bytecode beside every module, the same whenever and wherever it is made; `root` stands in it
    for the folder. False when no interpreter of that version is at hand."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    interpreter = sys.executable if python == own else shutil.which(f"python{python}")
    if interpreter is None:
        return False
    command = [interpreter, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash"]
    # Modules that do not compile are templates, or written for another version.
    done = subprocess.run(
        [*command, "-s", str(folder), "-p", root, str(folder)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    return done.returncode in (0, 1) and next(folder.rglob("*.pyc"), None) is not None


def _installed(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise PackageError(f"{name} is not installed in this environment") from error


def _add(name: str, found: set[str]) -> None:
    """A distribution with all it depends on."""
    if name in found:
        return
    found.add(name)
    if name not in ALONE:
        for dependency in _dependencies(name):
            _add(dependency, found)


def _dependencies(name: str) -> Iterator[str]:
    from packaging.requirements import Requirement

    for line in _installed(name).requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _canonical(requirement.name)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
