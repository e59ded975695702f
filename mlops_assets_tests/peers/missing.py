"""What a peer that cannot be had on this machine says of itself."""

import os
import shutil
from pathlib import Path


class MissingError(Exception):
    """The peer is not there; the message is the reason why its tests are skipped."""


def needed(*programs: str, for_what: str) -> None:
    """Raise MissingError naming every program that is absent."""
    absent = [
        name for name in programs if not (Path(name).exists() if "/" in name else _found(name))
    ]
    if absent:
        raise MissingError(f"{for_what} needs {', '.join(absent)}")


def folder_in(variable: str) -> Path | None:
    """The folder that a variable names; None without it.

    Raises:
        MissingError: there is no such folder.
    """
    named = os.environ.get(variable)
    if not named:
        return None
    folder = Path(named).absolute()
    if not folder.is_dir():
        raise MissingError(f"{variable} names {folder}, which is not there")
    return folder


def _found(program: str) -> str | None:
    # Where daemons are, also when a plain user's path leaves it out.
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
