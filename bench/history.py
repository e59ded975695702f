"""What a year of history costs: `python bench/history.py --experiments 100 --days 365`.

One experiment is trained and monitored for real, with pictures and all; what that run left in
Dagster's storage is copied for every experiment and every day. Then the sensors and the schedule of
the monitoring tick over all of them, `mlops metrics` looks, and the UI's own server answers what
its pages ask: the graph of an experiment, an asset, the history of a check, the runs. The events
that only a run's own page shows are in a file for each run, and are not copied.
"""

import argparse
import json
import re
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg  # noqa: TID251
import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from mlops_assets import graph, resources
from mlops_assets import vocabulary as names
from mlops_assets.commands import jobs
from mlops_assets.commands.instance import open_instance
from mlops_assets.commands.metrics import Project as Experiments
from mlops_assets.experiment import loader
from mlops_assets.monitoring.exporter.families import samples
from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.programs import webserver
from mlops_assets_tests.recorded import record_the_past

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 2.0
"""What a tick, and a page, may cost."""
DAY = 86_400
SENSORS = (
    names.TICKETS_SENSOR, names.RETRAINING_SENSOR, names.REGISTRY_SENSOR, names.TRUTH_SENSOR,
)  # fmt: skip
SCHEDULE = names.monitor_schedule("day")
TABLES = {
    "index.db": {"event_logs": "run_id", "asset_check_executions": "run_id"},
    "runs.db": {"runs": "run_id", "run_tags": "run_id"},
}
ALL = "page: every asset"
"""Which costs what its assets do, whatever their history: it is shown, and not judged."""
ASSETS = """assetKey { path } assetMaterializations(limit: 1) { timestamp runId }
    assetChecksOrError { ... on AssetChecks { checks { name
      executionForLatestMaterialization { status timestamp } } } }"""
PAGES = {
    "every asset": (f"{{ assetNodes {{ {ASSETS} }} }}", {}),
    "the graph of an experiment": (
        f"query ($keys: [AssetKeyInput!]) {{ assetNodes(assetKeys: $keys) {{ {ASSETS} }} }}",
        {"keys": [{"path": ["churn", name]} for name in (
            names.SOURCE, names.FEATURES, names.TRAINING_SET, names.TUNED_HYPERPARAMETERS,
            names.TRAINED_MODEL, names.EVALUATION, names.REGISTERED_VERSION,
            names.REFERENCE_PROFILE, names.SERVING_PROFILE, names.MONITORING_REPORT,
        )]},
    ),
    "an asset": (
        """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
             assetMaterializations(limit: 100) { timestamp runId label metadataEntries { label
               ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } } } } } }""",
        {"key": {"path": ["churn", names.SERVING_PROFILE]}},
    ),
    "a check": (
        """query ($key: AssetKeyInput!, $name: String!) { assetCheckExecutions(
             assetKey: $key, checkName: $name, limit: 25) { status timestamp evaluation { success
               metadataEntries { label ... on MarkdownMetadataEntry { mdStr } } } } }""",
        {"key": {"path": ["churn", names.SERVING_PROFILE]}, "name": names.HAS_NOT_DRIFTED},
    ),
    "runs": (
        """{ runsOrError(limit: 30) { ... on Runs { results { runId status startTime endTime
             tags { key value } assetSelection { path } } } } }""",
        {},
    ),
}  # fmt: skip
"""By page: what is asked, and with which variables."""


def main():
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        shutil.copy(ROOT / "dagster.yaml", project.root)
        watched = CHURN.replace("monitoring:", "monitoring:\n  window: day")
        project.write(watched.replace("training:", "training:\n  retrain: {on_drift: true}"))
        try:
            run_id = monitored(project)
        finally:
            project.retire()
        others = [f"churn_{number:03d}" for number in range(1, asked.experiments)]
        for name in others:
            text = (project.root / "configs" / "churn.yaml").read_text(encoding="utf-8")
            project.write(text.replace("name: churn\n", f"name: {name}\n"), f"{name}.yaml")
        home = project.settings.dagster_home / "history"
        copied = copy(home, run_id, ["churn", *others], asked.days)
        size = sum(path.stat().st_size for path in home.rglob("*.db")) / 1e6
        print(f"{copied:,} runs, {size:,.0f} MB in Dagster's storage\n")
        found = {
            **ticks(project, asked.times),
            "look of `mlops metrics`": [*looks(project, asked.times)],
            **pages(project, asked.times),
        }
    print("| | median s | slowest s |\n|---|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |")
    slow = [n for n, each in found.items() if statistics.median(each) > SECONDS and n != ALL]
    print(f"\n{'FAIL' if slow else 'PASS'}  each below {SECONDS:g} s {', '.join(slow)}")
    sys.exit(bool(slow))


def monitored(project):
    """The run that judged ten days of traffic; nothing is wrong in them."""
    assert project.json("run", "churn")["ok"]
    experiment = loader.load(project.root / "configs" / "churn.yaml")
    record_the_past(project, experiment, windows=10, rows=500)
    definitions = jobs.definitions(project.settings, experiment)
    with open_instance(project.settings) as instance:
        done = jobs.execute(
            instance,
            definitions,
            names.monitor_job("day"),
            run_id=jobs.new_run_id(),
            ops={},
            listen=lambda _: None,
            verbose=False,
        )
    assert done.success, done.failures
    return done.run_id


def copy(home, run_id, experiments, days):
    """How many runs there are, each a copy of this one."""
    index, runs = home / "runs" / "index.db", home / "runs.db"
    count = 0
    with closing(sqlite3.connect(index)) as events, closing(sqlite3.connect(runs)) as stored:
        for connection in (events, stored):
            connection.execute("PRAGMA synchronous = OFF")
        templates = [
            (connection, table, *rows_of(connection, table, run_id))
            for connection, file in ((events, "index.db"), (stored, "runs.db"))
            for table in TABLES[file]
        ]
        for day in range(days - 1, -1, -1):
            for name in experiments:
                if day == 0 and name == "churn":
                    continue
                said = {run_id: str(uuid.uuid4()), "churn": name}
                for connection, table, columns, rows in templates:
                    insert(connection, table, columns, rows, said, -day * DAY)
                count += 1
            events.commit()
            stored.commit()
        for name in experiments[1:]:
            renamed(events, name)
        events.commit()
    return count + 1


def rows_of(connection, table, run_id):
    found = connection.execute(f"SELECT * FROM {table} WHERE run_id = ?", [run_id])
    columns = [each[0] for each in found.description]
    return columns, found.fetchall()


def insert(connection, table, columns, rows, said, seconds):
    """Rows under other names, some seconds later."""
    kept = [index for index, name in enumerate(columns) if name != "id"]
    named = ", ".join(f'"{columns[index]}"' for index in kept)
    marks = ", ".join("?" * len(kept))
    made = [[moved(columns[i], row[i], said, seconds) for i in kept] for row in rows]
    connection.executemany(f"INSERT INTO {table} ({named}) VALUES ({marks})", made)


def moved(column, value, said, seconds):
    if isinstance(value, float):
        return value + seconds
    if not isinstance(value, str):
        return value
    if column.endswith(("timestamp", "_time")):
        return str(datetime.fromisoformat(value) + timedelta(seconds=seconds))
    for old, new in said.items():
        value = value.replace(old, new)
    return re.sub(r'("timestamp": )([0-9.]+)', lambda m: f"{m[1]}{float(m[2]) + seconds!r}", value)


def renamed(connection, name):
    """The rows of the first experiment's assets, for another one."""
    found = connection.execute("SELECT * FROM asset_keys WHERE asset_key LIKE '[\"churn\"%'")
    columns = [each[0] for each in found.description]
    insert(connection, "asset_keys", columns, found.fetchall(), {"churn": name}, 0)


def ticks(project, times):
    """Seconds of each tick, by sensor."""
    experiments = loader.load_all(project.settings.configs)
    made = resources.build(project.settings)
    shared = dg.Definitions(resources=made, executor=dg.in_process_executor)
    definitions = graph.build_all(experiments, shared)
    found = {}
    with open_instance(project.settings) as instance:
        for sensor in definitions.sensors:
            if sensor.name in SENSORS:
                tick = ticked(sensor, instance, definitions, made, times)
                found[f"tick of `{sensor.name}`"] = [*tick]
        (schedule,) = [each for each in definitions.schedules if each.name == SCHEDULE]
        found[f"tick of `{SCHEDULE}`"] = [*scheduled(schedule, instance, definitions, made, times)]
    return found


def looks(project, times):
    """Seconds of each look of `mlops metrics`, which Prometheus waits for."""
    platform = Experiments(project.settings).load()
    with open_instance(project.settings) as instance:
        for number in range(times + 1):
            began = time.perf_counter()
            told = list(samples(platform.look(instance, time.time())))
            if number:  # the first one reads the runs of a day
                yield time.perf_counter() - began
    print(f"{len(told):,} series of `mlops metrics`\n")


def ticked(sensor, instance, definitions, made, times):
    cursor = None
    for number in range(times + 1):
        with dg.build_sensor_context(
            instance=instance, cursor=cursor, definitions=definitions, resources=made
        ) as context:
            began = time.perf_counter()
            cursor = sensor.evaluate_tick(context).cursor
            if number:  # the first one imports
                yield time.perf_counter() - began


def scheduled(schedule, instance, definitions, made, times):
    """As Dagster's daemon asks it, day after day."""
    for number in range(times + 1):
        due = datetime.now(UTC).replace(hour=0, minute=0) + timedelta(days=number)
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=due,
            resources=made,
            repository_def=definitions.get_repository_def(),
        ) as context:
            began = time.perf_counter()
            requests = schedule.evaluate_tick(context).run_requests
            seconds = time.perf_counter() - began
            assert requests
            if number:
                yield seconds


def pages(project, times):
    """Seconds of each answer of the UI's server, by page."""
    with webserver(project) as url, httpx.Client(timeout=300, trust_env=False) as client:
        return {
            f"page: {name}": [*asked(client, url, query, variables, times)]
            for name, (query, variables) in PAGES.items()
        }


def asked(client, url, query, variables, times):
    for number in range(times + 1):
        began = time.perf_counter()
        answer = client.post(f"{url}/graphql", json={"query": query, "variables": variables})
        seconds = time.perf_counter() - began
        content = answer.json()
        assert not content.get("errors"), json.dumps(content["errors"])[:2000]
        if number:
            yield seconds


def parser():
    described = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    described.add_argument("--experiments", type=int, default=100)
    described.add_argument("--days", type=int, default=365)
    described.add_argument("--times", type=int, default=5)
    return described


if __name__ == "__main__":
    main()
