"""Folders in memory in which the workers of a crew share their counters. Standard library only.

In memory, because a page of a shared file that a full disk cannot hold kills whoever writes to it.
The endpoint's own folder holds a link to them, by which what a killed supervisor left is found.
"""

import shutil
from collections.abc import Collection
from pathlib import Path
from tempfile import mkdtemp

LINK = "shared"
MEMORY = Path("/dev/shm")  # noqa: S108 what is made there has a name nobody can foresee


def make(folder: Path) -> Path:
    """An empty folder for one crew of the endpoint in `folder`."""
    link = folder / LINK
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(mkdtemp(prefix="mlops-", dir=MEMORY if MEMORY.is_dir() else None))
    return Path(mkdtemp(dir=link.resolve()))


def keep(folder: Path, wanted: Collection[Path | None]) -> None:
    """Remove the folders of all crews but those `wanted`."""
    for path in (folder / LINK).resolve().glob("*"):
        if path not in wanted:
            shutil.rmtree(path, ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove everything."""
    link = folder / LINK
    if link.is_symlink():
        shutil.rmtree(link.resolve(), ignore_errors=True)
        link.unlink()


def bury(folder: Path, pid: int) -> None:
    """Remove the gauges of a process that has ended; what it counted stays."""
    for path in (folder / LINK).glob(f"*/gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)
