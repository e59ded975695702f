"""Loading definitions, and asking for help, must not import what only a run needs."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

ONLY_IN_A_RUN = (
    "boto3", "fastapi", "httpx", "joblib", "lightgbm", "matplotlib", "mlflow", "numpy", "onnx",
    "optuna", "pandas", "plotly", "prometheus_client", "psycopg2", "pyarrow", "s3fs", "scipy",
    "sklearn", "skops", "uvicorn", "whylogs", "xgboost",
)  # fmt: skip
NOT_FOR_HELP = (*ONLY_IN_A_RUN, "dagster", "pydantic", "sqlalchemy", "yaml")

SEEN = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def imported_by(statement: str) -> set[str]:
    """Top-level packages in a fresh process after the statement."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{statement}\n{SEEN}"],
        cwd=ROOT,
        env={**os.environ, "MLOPS_ROOT": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_definitions_import_nothing_that_only_a_run_needs() -> None:
    loading = "from mlops_assets import definitions, settings; definitions.load(settings.load())"
    found = imported_by(loading)
    assert "mlops_assets" in found
    assert "dagster" in found
    assert found.isdisjoint(ONLY_IN_A_RUN), sorted(found & set(ONLY_IN_A_RUN))


def test_help_imports_not_even_dagster() -> None:
    asking = (
        "from mlops_assets.cli import cli\n"
        "for command in ([], *([name] for name in cli.commands)):\n"
        "    cli.main([*command, '--help'], prog_name='mlops', standalone_mode=False)"
    )
    found = imported_by(asking)
    assert "mlops_assets" in found
    assert found.isdisjoint(NOT_FOR_HELP), sorted(found & set(NOT_FOR_HELP))


def test_the_scorer_of_an_endpoint_needs_no_platform() -> None:
    found = imported_by("import mlops_assets.serving.app, mlops_assets.serving.scorer")
    assert found.isdisjoint({"dagster", "mlflow", "optuna", "whylogs", "matplotlib"})
