"""Which code is running: the git commit of a folder."""

import subprocess
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
