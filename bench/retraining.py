"""What a tick of the sensor of retrainings costs: `python bench/retraining.py --experiments 1000`.

Fills a local Dagster store with experiments that are watched for everything (a cron line, drift,
quality, labels), each evaluated and passing, and ticks the sensor over all of them with nothing
new: seconds, and statements that Dagster's stores were asked.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg  # noqa: TID251
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from mlops_assets import vocabulary as names
from mlops_assets.experiment import loader
from mlops_assets.training import sensors
from mlops_assets.training.retraining.assets import checks_of

sys.path.insert(0, str(Path(__file__).resolve().parent))
from definitions import EXPERIMENT

SECONDS = 1.0
"""What a tick may cost."""
STATEMENTS = 1
"""What a tick with nothing new may ask, however many experiments there are."""
RETRAIN = '{{cron: "{minute} 3 * * *", on_drift: true, on_quality_loss: true, new_labels: 100}}'
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
PICTURE_BYTES = 25_000
"""Of the pictures in the metadata of an evaluation of drift."""


def main():
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp() as instance:
        experiments = generated(Path(folder), asked.experiments)
        fill(instance, experiments)
        seconds, statements = ticks(instance, experiments, asked.ticks)
    slowest, median = max(seconds), statistics.median(seconds)
    print(
        f"{asked.experiments:,} experiments, nothing new: median {median:.2f} s, slowest "
        f"{slowest:.2f} s of {len(seconds)} ticks; statements per tick: {sorted(set(statements))}"
    )
    holds = median < SECONDS and max(statements) <= STATEMENTS
    print(f"{'PASS' if holds else 'FAIL'}  below {SECONDS:g} s, {STATEMENTS} statement per tick")
    sys.exit(not holds)


def generated(folder, count):
    text_of = EXPERIMENT.replace('{{cron: "{minute} 3 * * *"}}', RETRAIN)
    assert RETRAIN in text_of
    for number in range(count):
        path = folder / f"experiment-{number:04d}.yaml"
        path.write_text(text_of.format(number=number, minute=number % 60), encoding="utf-8")
    return loader.load_all(folder)


def fill(instance, experiments):
    """One passing evaluation of each check: reported for the first experiment, copied for the rest;
    a report of each takes minutes."""
    first = experiments[0].name
    picture = b64encode(os.urandom(PICTURE_BYTES)).decode()
    for key in checks_of(experiments[0]):
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=True,
                severity=dg.AssetCheckSeverity.WARN,
                description="9 columns of inputs over 1,000 rows are as in training",
                metadata={"version": 1, "pictures": dg.MetadataValue.md(picture)},
            )
        )
    with instance.event_log_storage.index_connection() as connection:
        rows = connection.execute(text("SELECT * FROM asset_check_executions")).mappings().all()
        columns = [name for name in rows[0] if name != "id"]
        named = ", ".join(f'"{name}"' for name in columns)
        given = ", ".join(f":{name}" for name in columns)
        insert = f"INSERT INTO asset_check_executions ({named}) VALUES ({given})"
        for each in experiments[1:]:
            for row in rows:
                copied = {c: row[c] for c in columns}
                for column in ("asset_key", "evaluation_event"):
                    copied[column] = copied[column].replace(first, each.name)
                connection.execute(text(insert), copied)


def ticks(instance, experiments, times):
    """Seconds of each tick, and how many statements it made."""
    jobs = [dg.define_asset_job(names.retrain_job(each.name), "*") for each in experiments]
    # At noon no cron line of these asks for anything.
    clock = itertools.count()
    (sensor,) = sensors.build(
        experiments,
        jobs,
        {},
        clock=lambda: NOON + sensors.INTERVAL_SECONDS * timedelta(0, next(clock)),
    ).sensors
    cursor = None
    seconds, statements, made = [], [], []
    event.listen(Engine, "before_cursor_execute", lambda *said: made.append(said[2]))
    for _ in range(times + 1):
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        made.clear()
        began = time.perf_counter()
        data = sensor.evaluate_tick(context)
        seconds.append(time.perf_counter() - began)
        statements.append(sum(each.lstrip().upper().startswith("SELECT") for each in made))
        assert not data.run_requests, data.run_requests
        assert (
            data.skip_message
            == f"nothing asks for a retraining; experiments watched: {len(experiments)}"
        )
        cursor = data.cursor
    return seconds[1:], statements[1:]


def parser():
    described = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    described.add_argument("--experiments", type=int, default=1000)
    described.add_argument("--ticks", type=int, default=12)
    return described


if __name__ == "__main__":
    main()
