"""The code version of a real repository, and of what is none."""

import os
import subprocess
from pathlib import Path

import pytest

from mlops_assets.training import commit


def git(folder: Path, *command: str) -> str:
    who = {f"GIT_{role}_{what}": "test@example.org" for role in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")}  # fmt: skip
    done = subprocess.run(
        ["git", *command], cwd=folder, env={**os.environ, **who}, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "churn.yaml").write_text("name: churn\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path


def test_a_commit_is_named_from_any_folder_below(repository: Path) -> None:
    whole = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "v1")
    assert commit.describe(repository / "configs") == whole[:12]


def test_uncommitted_changes_are_told(repository: Path) -> None:
    (repository / "configs" / "churn.yaml").write_text("name: other\n")
    assert commit.describe(repository) == git(repository, "rev-parse", "HEAD")[:12] + "-dirty"


def test_what_is_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert commit.describe(tmp_path) == "no-git"
    assert commit.describe(tmp_path / "not there") == "no-git"


def test_the_environment_names_what_a_model_depends_on() -> None:
    words = commit.environment().split(", ")
    assert words[0].startswith("python 3.")
    assert {"scikit-learn", "numpy", "pandas"} <= {word.split()[0] for word in words}
