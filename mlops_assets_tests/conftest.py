"""Fixtures that several rooms share."""

import os
import shutil
from pathlib import Path

import pytest

from mlops_assets.gateways.model_registry import ModelRegistry

# Before any test imports MLflow: it reports usage and draws progress bars otherwise.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database with its tables, which take seconds to make: copy it."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ModelRegistry(f"sqlite:///{path}", str(path.parent), "").all_aliases()
    return path


@pytest.fixture
def model_registry(mlflow_template: Path, tmp_path: Path) -> ModelRegistry:
    """A real, empty MLflow store of this test's own."""
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    artifacts = str(tmp_path / "artifacts")
    return ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts, "http://127.0.0.1:5000")
