"""What people are told exists, and what exists is told."""

import inspect
import re
from pathlib import Path

import pytest

from mlops_assets import cli, vocabulary
from mlops_assets.deployment import targets
from mlops_assets.deployment.targets.base import Target
from mlops_assets.experiment import loader
from mlops_assets.experiment.spec import discover, kind_of
from mlops_assets.features import sources
from mlops_assets.features.sources.base import Source
from mlops_assets.monitoring import sinks
from mlops_assets.monitoring.sinks.base import Sink
from mlops_assets_tests.runbook import calls_in, is_a_key, keys_in, options_of

ROOT = Path(__file__).parent.parent
WIKI = [f"wiki/{path.name}" for path in sorted((ROOT / "wiki").glob("*.md"))]
STAGES = ("features", "tuning", "training", "registry", "deployment", "monitoring")
SOURCE_KINDS = [kind_of(member) for member in discover(sources, Source)]
TARGET_KINDS = [kind_of(member) for member in discover(targets, Target)]
SINK_KINDS = [kind_of(member) for member in discover(sinks, Sink)]

NO_CHECKS = {"STAGE_TAG", "EXPERIMENT_TAG", "VERSION_TAG", "DAGSTER_RUN_TAG"}
"""Strings of the vocabulary that are neither asset, check nor sensor."""


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def strings_of_vocabulary() -> dict[str, str]:
    """Assets, checks and sensors: every upper-case string of the vocabulary."""
    return {
        name: value
        for name, value in vars(vocabulary).items()
        if name.isupper() and isinstance(value, str) and name not in NO_CHECKS
    }


def jobs_and_schedules() -> list[str]:
    """As RUNBOOK writes them: the vocabulary's functions of an experiment's name, or a window."""
    makers = [
        maker
        for name, maker in vars(vocabulary).items()
        if name.endswith(("_job", "_schedule", "_sensor")) and callable(maker)
    ]
    return [maker(f"<{next(iter(inspect.signature(maker).parameters))}>") for maker in makers]


def variables_read() -> set[str]:
    """Environment variables that settings.py names as strings."""
    return set(
        re.findall(r'"((?:MLOPS|MLFLOW|DAGSTER)_[A-Z0-9_]+)"', text("mlops_assets/settings.py"))
    )


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", text("Makefile"), flags=re.MULTILINE))


def make_targets_in(document: str) -> set[str]:
    """Those that code spans and code blocks of a document name."""
    blocks = re.findall(r"```.*?```|`[^`\n]+`", document, flags=re.DOTALL)
    return set(re.findall(r"\bmake ([a-z][a-z-]*)", "\n".join(blocks)))


def is_named(word: str, document: str) -> bool:
    """As a whole word: `matches` is not named where only `matches_schema` stands."""
    return re.search(rf"(?<![\w]){re.escape(word)}(?![\w])", document) is not None


@pytest.mark.parametrize("name", sorted(strings_of_vocabulary()))
def test_runbook_names_every_asset_check_and_sensor(name: str) -> None:
    value = strings_of_vocabulary()[name]
    assert is_named(value, text("RUNBOOK.md")), f"RUNBOOK.md does not name {value!r}"


@pytest.mark.parametrize("name", jobs_and_schedules())
def test_runbook_names_every_job_and_schedule(name: str) -> None:
    written = name.replace("<experiment>", "<name>")
    assert f"`{written}`" in text("RUNBOOK.md"), f"RUNBOOK.md does not name {written}"


@pytest.mark.parametrize("kind", [*SOURCE_KINDS, *TARGET_KINDS, *SINK_KINDS])
def test_runbook_names_every_kind(kind: str) -> None:
    assert f"`{kind}`" in text("RUNBOOK.md"), f"RUNBOOK.md does not name the kind `{kind}`"


@pytest.mark.parametrize("variable", sorted(variables_read()))
def test_runbook_names_every_variable(variable: str) -> None:
    assert f"`{variable}`" in text("RUNBOOK.md"), f"RUNBOOK.md does not name {variable}"


def test_runbook_has_a_chapter_per_stage_in_order() -> None:
    chapters = re.findall(r"^## (\w+)$", text("RUNBOOK.md"), flags=re.MULTILINE)
    assert [c.lower() for c in chapters if c.lower() in STAGES] == list(STAGES)


@pytest.mark.parametrize("name", ["README.md", "RUNBOOK.md", "AGENTS.md", *WIKI])
def test_commands_exist_with_their_options(name: str) -> None:
    assert make_targets_in(text(name)) <= make_targets()
    for command, *words in calls_in(text(name)):
        assert command in cli.cli.commands, f"{name} names mlops {command}"
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert options <= options_of(cli.cli.commands[command]), f"{name}: mlops {command} {words}"


@pytest.mark.parametrize("name", ["README.md", "RUNBOOK.md", *WIKI])
def test_keys_of_the_yaml_exist(name: str) -> None:
    assert [key for key in keys_in(text(name)) if not is_a_key(key)] == []


def test_a_key_that_the_yaml_does_not_have_is_found() -> None:
    said = (
        "`monitoring.drift.effect`, `monitoring.drift.efect: 0.1`, `mlops/monitoring.drift`, "
        "monitoring.drift.none, `training.retrain.on_drift`, `deployment.targets[].port`, "
        "`deployment.targets[].prt`, `monitoring.expectations.<column>.missing`, "
        "`monitoring.expectations.<column>.mising`, `registry.promotion.metrics.<metric>.floor`, "
        "`monitoring.window.day`"
    )
    keys = keys_in(said)
    assert len(keys) == 9
    assert [key for key in keys if not is_a_key(key)] == [
        "monitoring.drift.efect",
        "deployment.targets[].prt",
        "monitoring.expectations.<column>.mising",
        "monitoring.window.day",
    ]
    assert len(keys_in(text("RUNBOOK.md"))) > 50


def test_the_makefile_calls_commands_that_exist() -> None:
    called = set(re.findall(r"\$\(BIN\)/mlops ([a-z]+)", text("Makefile")))
    assert called
    assert called <= set(cli.cli.commands)


@pytest.mark.parametrize("name", ["README.md", "RUNBOOK.md", "AGENTS.md", "CHANGELOG.md", *WIKI])
def test_links_lead_somewhere(name: str) -> None:
    document = text(name)
    for target in re.findall(r"\]\(([^)\s]+)\)", document):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), f"{name} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(path), f"{name} links to {target}: no such heading"


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in kept}


def test_paths_named_to_agents_exist() -> None:
    named = re.findall(
        r"`((?:mlops_assets|mlops_assets_tests|bench|configs)/[\w./]+)`", text("AGENTS.md")
    )
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_agents_is_short() -> None:
    assert len(text("AGENTS.md").splitlines()) <= 100


def test_the_schema_for_editors_is_current() -> None:
    written = text("configs/schema.json")
    assert written == loader.schema_text(), "configs/schema.json is stale: mlops schema --write"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_experiment_points_its_editor_at_the_schema(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"
