"""Things that should hold of every file: sizes, pins, versions, no traces of one machine."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mlops_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))
PYTHONS = ("3.11", "3.12")
NOT_SERVED = frozenset({"dagster", "mlflow", "pandas", "scikit-learn", "boto3", "pip"})
"""What no image of an endpoint holds."""

MACHINE = re.compile(r"(?<![\w.}$~-])/(?:home|root|work|Users|mnt|private)/\w+")
"""A path that exists on one machine only."""


def project() -> dict[str, Any]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(content)


def direct(group: str) -> list[str]:
    """What a group of dependencies names itself."""
    return [line for line in project()["dependency-groups"][group] if isinstance(line, str)]


def tracked() -> list[Path]:
    """Files of the repository, those about to be added included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    if done.returncode:
        pytest.skip(f"no git repository here: {done.stderr.strip()}")
    return [path for line in done.stdout.splitlines() if (path := ROOT / line).is_file()]


def pins(name: str, python: str) -> dict[str, Version]:
    """The versions a requirements file gives to Linux with this Python."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.7",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    found: dict[str, Version] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", f"{name}: {line} is no pin"
            assert requirement.name not in found, f"{name}: {requirement.name} twice on {python}"
            found[canonicalize_name(requirement.name)] = Version(specifier.version)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_within_its_bounds(python: str) -> None:
    pinned = pins("requirements.txt", python)
    for line in project()["project"]["dependencies"]:
        asked = Requirement(line)
        version = pinned.get(canonicalize_name(asked.name))
        assert version is not None, f"requirements.txt lacks {asked.name}: make lock"
        assert asked.specifier.contains(version), f"{asked} is pinned to {version}: make lock"


@pytest.mark.parametrize("python", PYTHONS)
def test_development_pins_extend_those_of_the_runtime(python: str) -> None:
    runtime, dev = pins("requirements.txt", python), pins("requirements-dev.txt", python)
    assert {name: dev.get(name) for name in runtime} == runtime
    for line in direct("dev"):
        asked = Requirement(line)
        version = dev.get(canonicalize_name(asked.name))
        assert version is not None, f"requirements-dev.txt lacks {asked.name}: make lock"
        assert asked.specifier.contains(version), f"{asked} is pinned to {version}: make lock"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_serving_image_has_a_part_of_the_runtime_in_the_same_versions(python: str) -> None:
    runtime, serving = pins("requirements.txt", python), pins("requirements-serving.txt", python)
    assert {name: runtime.get(name) for name in serving} == serving
    wanted = [*direct("endpoint"), *direct("serving")]
    assert set(wanted) <= set(serving), "requirements-serving.txt is stale: make lock"
    assert set(serving).isdisjoint(NOT_SERVED)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_image_for_lambda_has_a_part_of_what_is_tested_in_the_same_versions(
    python: str,
) -> None:
    dev, function = pins("requirements-dev.txt", python), pins("requirements-lambda.txt", python)
    assert {name: dev.get(name) for name in function} == function
    wanted = {Requirement(line).name for line in (*direct("endpoint"), *direct("lambda"))}
    assert wanted <= set(function), "requirements-lambda.txt is stale: make lock"
    assert set(function).isdisjoint({*NOT_SERVED, "uvicorn", "uvloop"})


@pytest.mark.parametrize(
    "name", [f"requirements{kind}.txt" for kind in ("", "-dev", "-serving", "-lambda")]
)
def test_requirements_name_no_index_and_say_how_they_are_made(name: str) -> None:
    content = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"^--|://| @ ", content, flags=re.MULTILINE)
    assert "make lock" in content.splitlines()[1]


def test_the_changelog_has_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)
    assert released[0] == project()["project"]["version"]
    assert released == sorted(released, key=Version, reverse=True)


def test_no_path_of_one_machine() -> None:
    found = []
    for path in tracked():
        if path.suffix in (".png", ".parquet", ".gz") or path == Path(__file__):
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(lines, 1)
            if MACHINE.search(line)
        ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("data = '/home/ada/churn.csv'", True),
        ("cd " + "/".join(("", "work", "main")), True),
        ("artifacts in file://" + "/".join(("", "root", "mlruns")), True),
        ("COPY mlops_assets /build/mlops_assets", False),
        ("see https://example.org/home/page", False),
    ],
)
def test_the_machine_guard_itself(line: str, *, is_one: bool) -> None:
    assert bool(MACHINE.search(line)) == is_one


def test_nothing_that_belongs_to_one_machine_is_in_the_repository() -> None:
    unwanted = (".db", ".sqlite", ".csv", ".parquet", ".pkl", ".joblib", ".pyc", ".log")
    assert [path for path in tracked() if path.suffix in unwanted] == []


def test_init_files_are_empty() -> None:
    packages = [*PACKAGE.rglob("__init__.py"), *Path(__file__).parent.rglob("__init__.py")]
    assert packages
    assert [path for path in packages if path.read_text(encoding="utf-8").strip()] == []


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_short_and_say_what_they_own(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    assert len(content.splitlines()) <= 300, "split it: a file holds one idea"
    if path.name != "__init__.py":
        assert content.startswith('"""'), "a module opens with what it owns"


def test_the_licence_is_whole() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert project()["project"]["license"] == "Apache-2.0"


@pytest.mark.parametrize(
    "name",
    ["scripts/make_venv", "scripts/install", "scripts/lock", "deploy/docker/pack", ".ci/run"],
)
def test_scripts_run_and_parse(name: str) -> None:
    path = ROOT / name
    assert path.stat().st_mode & 0o111, f"{name} is not executable"
    subprocess.run(["bash", "-n", str(path)], check=True, timeout=10)


def test_the_training_script_says_how_it_is_used() -> None:
    script = ROOT / "scripts" / "run_training.sh"
    done = subprocess.run([script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "run_training.sh configs/churn-experiment.yaml" in done.stderr
