"""Which room may import which: the table of the architecture, held against every import."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mlops_assets"
FILES = sorted(PACKAGE.rglob("*.py"))

STAGES = ("features", "tuning", "training", "registry", "deployment", "monitoring")
DAGSTER_FILES = {
    "assets", "checks", "sensors", "schedules", "definitions", "graph", "jobs", "launcher",
    "resources", "vocabulary",
}  # fmt: skip

SERVING_FORMATS = (
    "serving.bundle",
    "serving.client",
    "serving.recording",
    "serving.schema",
    "serving.embedded",
    "serving.encoding",
    "serving.ensemble",
    "serving.scorer",
    "serving.profile",
    "serving.contents",
    "serving.recording",
    "serving.runtimes.sklearn",
)
"""What the platform may know of the program on the endpoint: the formats both sides read and write,
the client, and the scorer that predicts exactly as an endpoint does."""

STAGE_MAY = ("assets", "vocabulary", "experiment", "gateways", "modeling", *SERVING_FORMATS)
SPECS = tuple(f"{stage}.spec" for stage in STAGES)

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # The program on the endpoint, shipped without the platform.
    "serving": ("serving",),
    "settings": (),
    # The base of every YAML section stands below the sections, the experiment above them.
    "experiment.spec": (),
    "experiment.windows": ("experiment.spec",),
    "experiment.document": (),
    "experiment.problems": ("experiment.spec", "experiment.document"),
    "experiment.model": ("experiment.spec", "modeling.tasks", "serving.bundle", *SPECS),
    "experiment.loader": ("experiment",),
    # What looks at data and estimators before anything runs: used by the CLI alone.
    "experiment.estimators": ("experiment", "modeling", "serving.schema", *SPECS),
    "experiment.survey": ("experiment", "features", "modeling", *SERVING_FORMATS),
    "experiment.scaffold": ("experiment", "features", "modeling", *SERVING_FORMATS),
    "gateways": ("gateways", *SERVING_FORMATS),
    "modeling": ("modeling", "gateways", *SERVING_FORMATS),
    # Names, and what every asset carries of its experiment.
    "vocabulary": ("assets", "experiment.model", "experiment.spec", "gateways.records"),
    "assets": (),
    **{
        f"{stage}.spec": ("experiment.spec", "experiment.windows", "modeling.tasks", stage)
        for stage in STAGES
    },
    # Labels that come late are read from a source as features are.
    "monitoring.spec": (
        "experiment.spec", "serving.recording", "features.spec", "modeling.tasks", "monitoring",
    ),
    **{stage: (stage, *STAGE_MAY) for stage in STAGES},
    # What is measured beside the champion is what the promotion rules ask for.
    "training.comparison": ("training", "registry.spec", *STAGE_MAY),
    # Which labels are read, and how they are told apart, is what monitoring asks for.
    "features.labels": ("features", "monitoring.spec", *STAGE_MAY),
    # The local target keeps the endpoint's supervisor running on this machine.
    "deployment.targets.local": ("deployment", "serving.endpoint", "serving.handover", *STAGE_MAY),
    "deployment.supervision": ("deployment", "serving.endpoint", "serving.handover", *STAGE_MAY),
    "deployment.preflight": ("deployment", "serving.endpoint", *STAGE_MAY),
    # Rows of a table are held to what an endpoint holds requests to.
    "deployment.batch": ("deployment", "serving.values", "serving.refusals", *STAGE_MAY),
    # Captured requests are read as an endpoint reads them.
    "monitoring.captured": ("monitoring", "serving.reader", "serving.refusals", *STAGE_MAY),
    "resources": (
        "vocabulary", "settings", "gateways", "features.sources.base", "deployment.targets.base",
        "monitoring.sinks.base",
    ),
    "jobs": (),
    "graph": ("jobs", "vocabulary", "experiment", *STAGES),
    "definitions": ("graph", "resources", "settings", "experiment.loader"),
    # How runs are started, whatever they run.
    "forking": (),
    "launcher": ("forking",),
    # People's side of the platform: it may see everything but the inside of the endpoint.
    "commands": (
        "commands", "definitions", "graph", "launcher", "resources", "settings", "vocabulary",
        "experiment", "gateways", "modeling", *STAGES, *SERVING_FORMATS,
    ),
    "cli": ("commands", "settings"),
}  # fmt: skip
"""By module, or by the folder it stands in; the longest name that fits a module counts."""


def inside(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, also inside functions and TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def own(name: str) -> str | None:
    """The module of this package that an import names; None for another package's."""
    if not name.startswith("mlops_assets."):
        return None
    short = name.removeprefix("mlops_assets.")
    return short if is_module(short) else short.rpartition(".")[0]


def allowed(module: str) -> tuple[str, ...]:
    rooms = [room for room in MAY_IMPORT if inside(module, room)]
    assert rooms, f"{module} stands in no room of the table"
    return MAY_IMPORT[max(rooms, key=len)]


def violations(path: Path, source: str) -> list[str]:
    module = module_of(path)
    found = []
    for line, name in imports(ast.parse(source)):
        other = own(name)
        if other in (None, ""):
            continue
        rooms = allowed(module)
        if not any(inside(str(other), room) for room in rooms):
            found.append(f"{module}:{line} imports {other}; it may import {', '.join(rooms)}")
    return found


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_only_what_the_table_allows(path: Path) -> None:
    if path.name == "__init__.py":
        return
    assert violations(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_dagster_only_where_the_name_says_so(path: Path) -> None:
    module = module_of(path)
    if path.stem in DAGSTER_FILES or inside(module, "commands"):
        return
    lines = [line for line, name in imports(ast.parse(path.read_text())) if inside(name, "dagster")]
    assert not lines, f"{module} imports dagster in line(s) {lines}; its name does not say so"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_settings_reads_the_environment(path: Path) -> None:
    """Setting a variable for a library, or handing all of them to a process, is no reading."""
    module = module_of(path)
    if module == "settings" or inside(module, "serving"):
        return
    text = path.read_text(encoding="utf-8")
    read = [call for call in ("os.environ.get(", "os.getenv(", "os.environ[") if call in text]
    assert not read, f"{module} reads the environment ({', '.join(read)}): settings.py does that"


@pytest.mark.parametrize(
    ("module", "statement", "forbidden"),
    [
        ("training/assets.py", "from mlops_assets.tuning import study", True),
        ("training/assets.py", "from mlops_assets.tuning.study import run", True),
        ("training/assets.py", "from mlops_assets.serving import supervisor", True),
        ("training/assets.py", "from mlops_assets.serving import bundle", False),
        ("serving/app.py", "from mlops_assets.gateways.records import Endpoint", True),
        ("serving/app.py", "from mlops_assets.serving.bundle import Manifest", False),
        ("gateways/records.py", "from mlops_assets.experiment.model import Experiment", True),
        ("features/spec.py", "from mlops_assets.experiment.model import Experiment", True),
        ("tuning/study.py", "def f():\n    import mlops_assets.training.fitting", True),
    ],
)
def test_the_guard_itself(module: str, statement: str, *, forbidden: bool) -> None:
    assert bool(violations(PACKAGE / module, statement)) == forbidden


def test_the_table_names_only_what_exists() -> None:
    named = {*MAY_IMPORT, *(room for rooms in MAY_IMPORT.values() for room in rooms)}
    assert [room for room in sorted(named) if not is_module(room)] == []
