"""Dagster's own daemon, and versions that others register: from a plain script to a live endpoint,
and from a bad one to a refusal. Scripts that write to MLflow's database send no webhooks, and are
seen all the same; what goes through MLflow's server is seen at once."""

import json
import secrets
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.commands.instance import open_instance
from mlops_assets.commands.live import live_endpoint
from mlops_assets.experiment import loader
from mlops_assets.gateways import webhooks
from mlops_assets.gateways.decisions import THE_GATES, Decision
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.registry.sensors import INTERVAL_SECONDS
from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.endpoints import until
from mlops_assets_tests.programs import daemon, mlflow_server, receiver

pytestmark = pytest.mark.pipeline

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 240
"""Seconds from a registration to what follows from it: ticks are 15 s apart, runs are processes."""

SCRIPT = """
import sys
import mlflow
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline

rows = pd.read_parquet(sys.argv[1])
features, label = sys.argv[2].split(","), rows[sys.argv[3]]
if sys.argv[4] == "noise":
    label = label.sample(frac=1, random_state=0).to_numpy()
model = make_pipeline(
    make_column_transformer(("passthrough", features), verbose_feature_names_out=False),
    HistGradientBoostingClassifier(max_iter=60, random_state=0),
).fit(rows[features], label)
mlflow.set_experiment("notebooks")
with mlflow.start_run():
    mlflow.sklearn.log_model(
        model, name="model", registered_model_name="churn", pip_requirements=["scikit-learn"],
        skops_trusted_types=[
            "numpy.dtype", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
        ],
    )
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Iterator[Project]:
    """A project whose experiment was run once, and whose daemon runs."""
    secret = ("MLOPS_WEBHOOK_SECRET", secrets.token_urlsafe())
    made = Project(tmp_path_factory.mktemp("registry"), (secret,))
    project = made.with_tables(mlflow_template)
    project.write(CHURN)
    shutil.copy(ROOT / "dagster.yaml", project.root)
    assert project.json("run", "churn")["ok"]
    try:
        with daemon(project):
            yield project
    finally:
        project.retire()


def register(project: Project, kind: str) -> int:
    """A version by a script that knows MLflow alone; its number."""
    training_set = project.record("churn", "training_set")
    numeric = [c["name"] for c in training_set.schema if c["type"] == "numeric"]
    script = project.root / "notebook.py"
    script.write_text(textwrap.dedent(SCRIPT))
    subprocess.run(
        [sys.executable, script, training_set.url, ",".join(numeric), "__label__", kind],
        check=True,
        cwd=project.root,
        env={**project.environment, "MLFLOW_TRACKING_URI": project.settings.tracking_uri},
    )
    return project.versions()


def decision(project: Project, version: int) -> Decision | None:
    return Decision.of(project.registry.version("churn", version).tags)


def decided(project: Project, version: int) -> Decision:
    """The decision about it, once there is one."""
    until(lambda: decision(project, version), PATIENCE)
    found = decision(project, version)
    assert found is not None
    return found


def test_others_versions_are_evaluated_and_the_good_one_alone_is_live(live: Project) -> None:
    """Nothing but scripts asked for anything."""
    good = register(live, "honest")
    promoted = decided(live, good)
    assert (promoted.outcome, promoted.by) == ("promoted", THE_GATES), promoted
    assert live.registry.aliases("churn")[CHAMPION] == good
    experiment = loader.load(live.root / "configs" / "churn.yaml")
    until(lambda: live_endpoint(live.settings, experiment).version == good, PATIENCE)
    assert live.json("predict", "churn")["version"] == str(good)
    until(lambda: served(live)[-1] == good, PATIENCE)

    before = live_endpoint(live.settings, experiment)
    bad = register(live, "noise")
    refused = decided(live, bad)
    assert refused.outcome == "refused"
    floor, _ = refused.reason.split("; ", maxsplit=1)
    assert floor.startswith("meets_quality_floor: roc_auc 0.")
    assert floor.endswith("at least 0.6 wanted")
    assert live_endpoint(live.settings, experiment) == before
    assert live.json("predict", "churn")["version"] == str(good)
    assert served(live)[-1] == good
    assert bad not in served(live)

    with open_instance(live.settings) as instance:
        asked = dg.RunsFilter(tags={"dagster/sensor_name": names.REGISTRY_SENSOR})
        runs = Counter(run.job_name for run in instance.get_runs(asked))
        external = names.asset_key("churn", names.REGISTERED_ELSEWHERE)
        found = instance.fetch_materializations(external, limit=10).records
    # One tick has a version evaluated, the next that acts has it deployed.
    assert runs == {names.retrain_job("churn"): 2, names.deploy_job("churn"): 1}
    shown = [each.asset_materialization.metadata["version"].value for each in found]
    assert shown == [bad, good]


def served(project: Project) -> list[int]:
    return [one["version"] for one in project.json("history", "churn")]


def test_a_webhook_of_mlflow_wakes_the_sensor(live: Project) -> None:
    """An alias is set right after a look, and the next look comes before its time. It is an alias
    that nobody deploys."""
    with mlflow_server(live) as server, receiver(live) as url:
        at_server = Project(live.root, (*live.variables, ("MLFLOW_TRACKING_URI", server)))
        assert "sends" in at_server.mlops("webhooks", "--register", url)
        registry = at_server.registry
        assert not webhooks.register(registry, url, live.settings.webhook_secret), "made twice"
        (webhook,) = registry.client.list_webhooks()
        result = registry.client.test_webhook(webhook.webhook_id)
        assert (result.success, result.response_status) == (True, 204), result
        with open_instance(live.settings) as instance:
            # A look that is due anyway may come first on a busy machine; not three times.
            found = any(
                between_looks(instance, registry, f"candidate{number}") < INTERVAL_SECONDS
                for number in range(3)
            )
    assert found


def between_looks(instance: dg.DagsterInstance, registry: ModelRegistry, alias: str) -> float:
    """Seconds from a look of the sensor to the next one, which a webhook woke."""
    first = looked(instance)
    before = until(lambda: (now := looked(instance))["at"] != first["at"] and now, PATIENCE)
    registry.set_alias("churn", alias, 1)
    after = until(lambda: (now := looked(instance))["mark"] != before["mark"] and now, PATIENCE)
    between = datetime.fromisoformat(after["at"]) - datetime.fromisoformat(before["at"])
    return between.total_seconds()


def looked(instance: dg.DagsterInstance) -> dict[str, str]:
    """What the sensor remembers of its last look."""
    states = [
        state
        for state in instance.all_instigator_state()
        if state.instigator_name == names.REGISTRY_SENSOR
    ]
    found: dict[str, str] = json.loads(states[0].instigator_data.cursor)["looked"]
    return found
