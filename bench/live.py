"""From the alias to the answer: `python bench/live.py --moves 10`.

A project with two versions, Dagster's daemon, an MLflow store and a local endpoint that is called
all the time. The alias `champion` moves between the versions at random moments; what is timed is
from the end of that call to the first answer of the other version, once with the sensor's interval
alone and once with MLflow's webhooks.
"""

import argparse
import json
import os
import random
import secrets
import shutil
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dagster as dg  # noqa: TID251
import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from mlops_assets import vocabulary as names
from mlops_assets.commands.instance import open_instance
from mlops_assets.commands.live import live_endpoint
from mlops_assets.experiment import loader
from mlops_assets.gateways import champions
from mlops_assets.gateways.model_registry import CHAMPION
from mlops_assets.registry.sensors import INTERVAL_SECONDS
from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.endpoints import until
from mlops_assets_tests.programs import daemon, mlflow_server, receiver

ROOT = Path(__file__).resolve().parent.parent
ALLOWANCE = 5.0
"""Seconds beside the sensor's interval in which the new version answers, the target says."""
PAUSE = 0.05
"""Seconds between two calls of the endpoint."""


@dataclass(frozen=True)
class Move:
    """Seconds from the alias to each of what follows."""

    run: float
    """The run is stored: the sensor has seen it."""
    started: float
    """Its process runs the job: taken from the queue, launched, imported."""
    step: float
    """The endpoint's step begins."""
    flown: float
    """The version passed its preflight."""
    answered: float
    """The first answer of the other version."""


class Caller:
    """Calls the endpoint all the time, one call after the other."""

    def __init__(self, url, records):
        self._url, self._body = f"{url}/invocations", {"instances": records}
        self.version, self.changed = "", 0.0
        self.calls = self.failed = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._call, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _call(self):
        with httpx.Client(timeout=10) as client:
            while not self._done.wait(PAUSE):
                answer = client.post(self._url, json=self._body)
                self.calls += 1
                if answer.status_code != 200:
                    self.failed += 1
                    continue
                version = answer.json()["version"]
                if version != self.version:
                    self.version, self.changed = version, time.time()


def main():
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        project = Project(Path(folder), (("MLOPS_WEBHOOK_SECRET", secrets.token_urlsafe()),))
        project.write(CHURN)
        shutil.copy(ROOT / "dagster.yaml", project.root)
        stack.callback(project.retire)
        for _ in range(2):
            assert project.json("run", "churn")["ok"]
        # So soon after a decision an alias elsewhere may be about to follow it.
        time.sleep(champions.UNDER_WAY.total_seconds())
        results = {
            mode: measure(project, mode, asked.moves, random.Random(asked.seed))
            for mode in asked.modes
        }
    holds = True
    for mode, (moves, caller) in results.items():
        print(table(mode, moves, caller))
        slowest = max(move.answered for move in moves)
        fine = slowest <= INTERVAL_SECONDS + ALLOWANCE and caller.failed == 0
        limit = f"at most {INTERVAL_SECONDS + ALLOWANCE:g} s, and no call failed"
        print(f"{'PASS' if fine else 'FAIL'}  {limit}: {slowest:.1f} s\n")
        holds = holds and fine
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    sys.exit(not holds)


def measure(project, mode, count, chance):
    """That many moves of the alias, and who called meanwhile."""
    webhooks = mode == "webhooks"
    chosen = project if webhooks else Project(project.root)
    experiment = loader.load(project.root / "configs" / "churn.yaml")
    with ExitStack() as stack:
        registry = chosen.registry
        if webhooks:
            server = stack.enter_context(mlflow_server(chosen))
            there = Project(chosen.root, (*chosen.variables, ("MLFLOW_TRACKING_URI", server)))
            there.mlops("webhooks", "--register", stack.enter_context(receiver(chosen)))
            registry = there.registry
        instance = stack.enter_context(open_instance(chosen.settings))
        stack.enter_context(daemon(chosen))
        until(lambda: ticked(instance, webhooks=webhooks), 120)
        caller = stack.enter_context(
            Caller(live_endpoint(chosen.settings, experiment).url, record(chosen))
        )
        until(lambda: caller.version)
        moves = []
        for number in range(count):
            time.sleep(chance.uniform(0, INTERVAL_SECONDS))
            moves.append(move(instance, registry, caller))
            print(f"{mode} {number + 1}/{count}: {moves[-1].answered:.1f} s", file=sys.stderr)
    return moves, caller


def move(instance, registry, caller):
    """The alias goes to the other version, and everything that follows from it."""
    before = {run.run_id for run in instance.get_runs()}
    now, champion = caller.version, registry.aliases("churn")[CHAMPION]
    registry.set_alias("churn", CHAMPION, 3 - champion)
    began = time.time()
    until(lambda: caller.version != now, 180)
    run_id = next(run.run_id for run in instance.get_runs() if run.run_id not in before)
    until(lambda: instance.get_run_by_id(run_id).is_finished, 180)
    record = instance.get_run_record_by_id(run_id)
    events = instance.all_logs(run_id)
    at = {}
    for entry in events:
        kind = entry.dagster_event and entry.dagster_event.event_type
        if kind is not None:
            at.setdefault(kind, entry.timestamp)
    kinds = dg.DagsterEventType
    return Move(
        run=record.create_timestamp.timestamp() - began,
        started=at[kinds.RUN_START] - began,
        step=at[kinds.STEP_START] - began,
        flown=at[kinds.ASSET_CHECK_EVALUATION] - began,
        answered=caller.changed - began,
    )


def ticked(instance, *, webhooks):
    """Whether the daemon's sensor has looked, as this mode has it look."""
    for state in instance.all_instigator_state():
        if state.instigator_name == names.REGISTRY_SENSOR and state.instigator_data.cursor:
            return ("looked" in json.loads(state.instigator_data.cursor)) is webhooks
    return False


def record(project):
    """A request, from the last run's held-out rows."""
    import pandas as pd

    from mlops_assets.modeling.scoring import records
    from mlops_assets.serving.schema import InputSchema

    training_set = project.record("churn", "training_set")
    schema = InputSchema.from_json(list(training_set.schema))
    return records(pd.read_parquet(training_set.url).head(1), schema)


def table(mode, moves, caller):
    """Markdown."""
    lines = [
        f"{mode}: {len(moves)} moves, {caller.calls:,} calls, {caller.failed} failed\n",
        "| seconds from the alias to | min | median | max |",
        "|---|---|---|---|",
    ]
    for field, words in (
        ("run", "the run in the queue"),
        ("started", "the start of its job"),
        ("step", "the endpoint's step"),
        ("flown", "the passed preflight"),
        ("answered", "**the first answer**"),
    ):
        values = [getattr(each, field) for each in moves]
        lines.append(
            f"| {words} | {min(values):.1f} | {statistics.median(values):.1f} | {max(values):.1f} |"
        )
    return "\n".join(lines)


def parser():
    described = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    described.add_argument("--moves", type=int, default=10)
    described.add_argument("--seed", type=int, default=0)
    described.add_argument(
        "--modes", nargs="+", choices=("interval", "webhooks"), default=["interval", "webhooks"]
    )
    return described


if __name__ == "__main__":
    main()
