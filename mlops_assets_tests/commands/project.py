"""A project in a temporary folder, and the `mlops` command run in it as people run it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets import resources, settings
from mlops_assets.commands import kept
from mlops_assets.experiment import loader
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.settings import Settings
from mlops_assets_tests.commands import warm

PROGRAM = "from mlops_assets.cli import main; main()"
OURS = ("MLOPS_", "MLFLOW_", "DAGSTER_")

CHURN = """\
name: churn
description: Which customers leave within the next month.
owner: team:growth
task: binary_classification
features:
  source: {kind: simulator, customers: 350, months: 15, seed: 0}
  target: churned
  positive: "yes"
  entity: customer_id
  event_time: month
  label_time: label_known_at
  split: {folds: 3}
tuning:
  n_trials: 3
  workers: 1
  search_space:
    learning_rate: {type: float, low: 0.05, high: 0.3, log: true}
    max_leaf_nodes: {type: int, low: 4, high: 16}
training:
  estimator: sklearn.ensemble.HistGradientBoostingClassifier
  parameters: {max_iter: 30}
  bootstrap: 100
registry:
  promotion:
    metrics:
      roc_auc: {rule: non_inferior, margin: 0.5, floor: 0.6}
deployment:
  targets: [{kind: local}]
monitoring:
  # The held-out months are of another season than the whole: their rows count as usual traffic.
  drift: {effect: 0.25, windows: 1, at_least: 1}
"""

SMALL = """\
name: small
description: A small table.
owner: ml@example.org
task: binary_classification
features:
  source: {kind: csv, path: ../data.csv}
  target: left
  split: {folds: 3}
tuning:
  n_trials: 2
  workers: 1
  search_space:
    C: {type: float, low: 0.01, high: 10, log: true}
training:
  estimator: sklearn.linear_model.LogisticRegression
  bootstrap: 100
deployment:
  targets: [{kind: local}]
"""
"""Of a table beside `configs/`, with a model that is fitted in no time."""

RETRAINED = SMALL.replace(
    "deployment:",
    """\
  retrain: {on_drift: true, brakes: {cool_down: 0}}
registry:
  promotion: {metrics: {roc_auc: {rule: non_inferior, margin: 0.5}}}
deployment:""",
)
"""The same, trained again on drift."""


@dataclass(frozen=True)
class Project:
    """A folder with `configs/`, whose state, registry and endpoints are its own."""

    root: Path
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        outer = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        return {**outer, "MLOPS_ROOT": str(self.root), **dict(self.variables)}

    @property
    def settings(self) -> Settings:
        return settings.load(self.environment)

    @property
    def registry(self) -> ModelRegistry:
        chosen = self.settings
        return ModelRegistry(chosen.tracking_uri, chosen.artifacts_url, chosen.mlflow_url)

    def with_tables(self, template: Path) -> "Project":
        """MLflow's database is there (`mlflow_template`), whose tables take seconds to make."""
        self.settings.home.mkdir(parents=True, exist_ok=True)
        shutil.copy(template, self.settings.home / "mlflow.db")
        return self

    def write(self, text: str, name: str = "churn.yaml") -> Path:
        path = self.root / "configs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.root, env=self.environment, stdout=pipe, stderr=pipe, text=True,
            start_new_session=True, **options,
        )  # fmt: skip

    def mlops(self, *arguments: str, code: int = 0, timeout: float = 150) -> str:
        """Standard output, or standard error when another exit code is expected."""
        done = warm.run(arguments, folder=self.root, environment=self.environment, timeout=timeout)
        assert done.code == code, f"exit {done.code}\n{done.output}\n{done.error}"
        return done.error if code else done.output

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What the command says as JSON, with whichever exit code."""
        done = warm.run(
            (*arguments, "--json"), folder=self.root, environment=self.environment, timeout=150
        )
        assert done.code == code, f"exit {done.code}\n{done.output}\n{done.error}"
        return json.loads(done.output)

    def record(self, experiment: str, *path: str) -> Any:
        """What the last run left for an asset."""
        return kept.record(kept.store(self.settings), experiment, *path)

    def versions(self, model: str = "churn") -> int:
        """How many versions are registered; 0 also when MLflow was never used."""
        if not (self.settings.home / "mlflow.db").exists():
            return 0
        found = self.registry.client.search_model_versions(f"name = '{model}'")
        return len(found)

    def leftovers(self) -> list[str]:
        """Files that were begun and not finished."""
        unfinished = (".partial", ".tmp", "-journal")
        return [str(p) for p in self.root.rglob("*") if p.name.endswith(unfinished)]

    def retire(self) -> None:
        """End every endpoint of every experiment that loads."""
        context = resources.target_context(self.settings)
        for path in sorted((self.root / "configs").glob("*.yaml")):
            try:
                experiment = loader.load(path)
            except loader.ExperimentError:
                continue
            for target in experiment.deployment.targets:
                target.retire(experiment.name, context)
