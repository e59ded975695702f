"""What a look of `mlops metrics` costs: `python bench/exporter.py --experiments 100 --days 365`.

Fills a local Dagster store with experiments whose checks were evaluated daily, those of drift with
pictures, and whose assets are all made, and looks over all of them: seconds, statements, series.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from base64 import b64encode
from pathlib import Path

import dagster as dg  # noqa: TID251
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from mlops_assets.experiment import loader
from mlops_assets.graph import build_experiment
from mlops_assets.monitoring.exporter.families import render, samples
from mlops_assets.monitoring.exporter.resources import Platform

sys.path.insert(0, str(Path(__file__).resolve().parent))
from definitions import EXPERIMENT

SECONDS = 2.0
"""What a look may cost."""
PICTURE_BYTES = 25_000


def main():
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp() as instance:
        experiments = generated(Path(folder), asked.experiments)
        built = {each.name: build_experiment(each) for each in experiments}
        made = {n: [*(p.assets or ()), *(p.asset_checks or ())] for n, p in built.items()}
        fill(instance, made, asked.days)
        platform, seconds, statements = Platform(made), [], []
        event.listen(Engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
        platform.look(instance, time.time())
        for _ in range(asked.looks):
            statements.clear()
            began = time.perf_counter()
            told = list(samples(platform.look(instance, time.time())))
            seconds.append(time.perf_counter() - began)
    text_bytes = len(render(told)[0])
    median = statistics.median(seconds)
    print(
        f"{asked.experiments:,} experiments, {asked.days} days: median {median:.2f} s, slowest "
        f"{max(seconds):.2f} s of {len(seconds)} looks; {len(statements)} statements, "
        f"{len(told):,} series, {text_bytes / 1000:,.0f} kB"
    )
    print(f"{'PASS' if median < SECONDS else 'FAIL'}  below {SECONDS:g} s")
    sys.exit(median >= SECONDS)


def generated(folder, count):
    for number in range(count):
        path = folder / f"experiment-{number:04d}.yaml"
        path.write_text(EXPERIMENT.format(number=number, minute=number % 60), encoding="utf-8")
    return loader.load_all(folder)


def fill(instance, made, days):
    """Reported for the first experiment, copied for the rest, whose reports would take minutes; of
    the days before the newest only rows without content, which no look reads."""
    first, *others = made
    picture = b64encode(os.urandom(PICTURE_BYTES)).decode()
    for part in made[first]:
        for key in getattr(part, "keys", ()):
            said = {"state": "live", "version": 1}
            instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=said))
        for key in part.check_keys:
            said = {"value": 0.1, "threshold": 0.15, "version": 1}
            if key.name.endswith("drifted"):
                said["pictures"] = dg.MetadataValue.md(picture)
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=key.asset_key, check_name=key.name, passed=True, metadata=said
                )
            )
    with instance.event_log_storage.index_connection() as connection:
        for table in ("asset_check_executions", "asset_keys"):
            rows = connection.execute(text(f"SELECT * FROM {table}")).mappings().all()
            columns = [name for name in rows[0] if name != "id"]
            named = ", ".join(f'"{name}"' for name in columns)
            given = ", ".join(f":{name}" for name in columns)
            insert = text(f"INSERT INTO {table} ({named}) VALUES ({given})")

            def copied(name, *, of=rows, of_columns=columns):
                def other(value):
                    return value.replace(first, name) if isinstance(value, str) else value

                return [{c: other(row[c]) for c in of_columns} for row in of]

            if table == "asset_check_executions":
                for name in made:
                    old = [{**row, "evaluation_event": None} for row in copied(name)]
                    connection.execute(insert, old * (days - 1))
                connection.execute(insert, copied(first))
            for name in others:
                connection.execute(insert, copied(name))


def parser():
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--experiments", type=int, default=100)
    made.add_argument("--days", type=int, default=365)
    made.add_argument("--looks", type=int, default=10)
    return made


if __name__ == "__main__":
    main()
