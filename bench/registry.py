"""What a tick of the registry sensor costs: `python bench/registry.py --models 1000 --versions 20`.

Fills a local MLflow store with models, each with a champion that its experiment has live, and ticks
the sensor over all of them with nothing new: seconds, and calls of MLflow. The first two looks ask
Dagster what is deployed, and are not timed.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import dagster as dg  # noqa: TID251
from sqlalchemy import create_engine, text

from mlops_assets import vocabulary as names
from mlops_assets.experiment import loader
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.registry import sensors

sys.path.insert(0, str(Path(__file__).resolve().parent))
from definitions import generate

SECONDS = 1.0
"""What a tick may cost."""
ASKING = 2
"""Looks until nothing has happened since what is deployed was read."""
SEARCHES = 3
"""For the tags of people's requests, and of versions that a freeze holds up."""


class Counted:
    """A client of MLflow that counts what it is asked."""

    def __init__(self, client):
        self.calls = Counter()
        self._client = client

    def __getattr__(self, name):
        found = getattr(self._client, name)

        def asked(*arguments, **options):
            self.calls[name] += 1
            return found(*arguments, **options)

        return asked


class CountedRegistry(ModelRegistry):
    """The registry with such a client."""

    @property
    def client(self):
        if not hasattr(self, "_counted"):
            self._counted = Counted(super().client)
        return self._counted


def main():
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp() as instance:
        root = Path(folder)
        (root / "configs").mkdir()
        generate(root / "configs", asked.models)
        experiments = loader.load_all(root / "configs")
        registry = CountedRegistry(f"sqlite:///{root / 'mlflow.db'}", str(root), "")
        registry.models()
        fill(root / "mlflow.db", [each.model_name for each in experiments], asked.versions)
        for each in experiments:
            report(instance, each, asked.versions)
        seconds, calls = ticks(instance, registry, experiments, asked.ticks)
    slowest, median = max(seconds), statistics.median(seconds)
    print(
        f"{asked.models:,} models of {asked.versions} versions, nothing new: "
        f"median {median:.2f} s, slowest {slowest:.2f} s of {len(seconds)} ticks; "
        f"calls of MLflow per tick: {dict(calls)}"
    )
    holds = median < SECONDS and sum(calls.values()) <= SEARCHES + 1 + asked.models // 1000
    print(
        f"{'PASS' if holds else 'FAIL'}  below {SECONDS:g} s, one call per thousand models, and "
        f"{SEARCHES} searches for what people ask"
    )
    sys.exit(not holds)


def fill(path, models, versions):
    """Straight into the tables: by MLflow's own calls it takes minutes."""
    now = int(time.time() * 1000)
    engine = create_engine(f"sqlite:///{path}")
    rows = [{"name": name, "now": now} for name in models]
    numbered = [{**row, "version": n + 1} for row in rows for n in range(versions)]
    last = [{**row, "version": versions} for row in rows]
    with engine.begin() as connection:
        for statement, given in (
            (
                "INSERT INTO registered_models (workspace, name, creation_time, last_updated_time) "
                "VALUES ('default', :name, :now, :now)",
                rows,
            ),
            (
                "INSERT INTO model_versions (workspace, name, version, creation_time, "
                "last_updated_time, current_stage, source, status) VALUES ('default', :name, "
                ":version, :now, :now, 'None', 'runs:/r/model', 'READY')",
                numbered,
            ),
            (
                "INSERT INTO model_version_tags (workspace, name, version, key, value) VALUES "
                "('default', :name, :version, 'mlops.bundle_uri', 'runs:/r/bundle')",
                numbered,
            ),
            (
                "INSERT INTO registered_model_aliases (workspace, name, alias, version) VALUES "
                "('default', :name, 'champion', :version)",
                last,
            ),
            (
                "INSERT INTO registered_model_tags (workspace, name, key, value) VALUES "
                "('default', :name, 'mlops.champion', :version)",
                last,
            ),
        ):
            connection.execute(text(statement), given)
    engine.dispose()


def report(instance, experiment, version):
    """The endpoint says that it serves the version."""
    key = names.endpoint_key(experiment.name, "local")
    said = {"version": version, "state": "live"}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=said))


def ticks(instance, registry, experiments, times):
    """Seconds of each tick, and the calls of the last one."""
    jobs = [
        dg.define_asset_job(job(each.name), "*")
        for each in experiments
        for job in (names.deploy_job, names.retrain_job)
    ]
    (sensor,) = sensors.build(experiments, jobs).sensors
    gc.freeze()  # as `mlops_assets.definitions` does for a code server, which stays
    resources = {"model_registry": registry, "dagster_url": ""}
    seconds, cursor = [], None
    for _ in range(times + ASKING):
        registry.client.calls.clear()
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
        began = time.perf_counter()
        data = sensor.evaluate_tick(context)
        seconds.append(time.perf_counter() - began)
        assert not data.run_requests, data.run_requests
        cursor = data.cursor
    return seconds[ASKING:], registry.client.calls


def parser():
    described = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    described.add_argument("--models", type=int, default=1000)
    described.add_argument("--versions", type=int, default=20)
    described.add_argument("--ticks", type=int, default=10)
    return described


if __name__ == "__main__":
    main()
