"""Which code is running: the git commit of a folder, and the versions of the libraries."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def describe(folder: Path) -> str:
    """The commit that `folder` is checked out at, with `-dirty` for uncommitted changes;
    `no-git` outside a repository or without git."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "no-git"
    return answer.stdout.strip() if answer.returncode == 0 else "no-git"


def environment() -> str:
    """Python and the libraries a model depends on, with their versions."""
    packages = ("scikit-learn", "numpy", "pandas", "optuna", "mlflow", "dagster")
    found = [f"python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]
    return ", ".join(found)
