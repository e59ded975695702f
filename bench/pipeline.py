"""What the platform costs: `python bench/pipeline.py data.csv --target Churn`.

Each round times three fresh processes: the pipeline's retrain job on an empty store, a plain
scikit-learn and Optuna script that fits the same models on the same rows, and the deployment of
what the pipeline registered. Both must reach the same scores to 1e-9.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path(__file__).with_name("plain_script.py")
ESTIMATOR = "sklearn.ensemble.HistGradientBoostingClassifier"
MLOPS = "from mlops_assets.cli import main; main()"
TOLERANCE = 1e-9


def command(arguments, environment):
    """Seconds a process takes, and the JSON of its last line."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{arguments} failed:\n{done.stdout}\n{done.stderr[-5000:]}")
    return seconds, done.stdout.strip().rpartition("\n")[2]


class Store:
    """An empty project with one experiment, made by `mlops init`."""

    def __init__(self, folder, csv, target):
        self.folder = Path(folder)
        (self.folder / "dagster").mkdir(parents=True)
        shutil.copy(ROOT / "dagster.yaml", self.folder / "dagster")
        self.environment = {
            "MLOPS_ROOT": str(self.folder),
            "MLOPS_HOME": str(self.folder / "state"),
            "MLOPS_CONFIGS": str(self.folder / "configs"),
            "DAGSTER_HOME": str(self.folder / "dagster"),
        }
        yaml = self.folder / "configs" / "bench.yaml"
        init = ["-c", MLOPS, "init", csv, "--target", target, "--name", "bench"]
        command([*init, "--output", yaml], self.environment)

    def run(self, job):
        seconds, said = command([__file__, "--drive", f"bench__{job}"], self.environment)
        return seconds, json.loads(said)

    def settings(self):
        from mlops_assets import settings

        return settings.load(self.environment)

    def experiment(self):
        from mlops_assets.experiment import loader

        (experiment,) = loader.load_all(self.settings().configs)
        return experiment

    def record(self, name):
        path = f"{self.settings().data_url}/records/bench/{name}/latest.json"
        return json.loads(Path(path).read_text(encoding="utf-8"))

    def retire(self):
        """End the endpoint."""
        from mlops_assets import resources

        (target,) = self.experiment().deployment.targets
        target.retire("bench", resources.target_context(self.settings()))


def drive(job):
    """What `mlops run` does for one job: load, run in this process, and say what took how long."""
    started = time.perf_counter()
    import dagster as dg

    from mlops_assets import definitions, settings

    imported = time.perf_counter()
    instance = dg.DagsterInstance.get()
    opened = time.perf_counter()
    resolved = definitions.load(settings.load()).resolve_job_def(job)
    loaded = time.perf_counter()
    result = resolved.execute_in_process(instance=instance)
    ended = time.perf_counter()
    steps = {
        event.step_key.removeprefix("bench__"): event.event_specific_data.duration_ms / 1000
        for event in result.all_events
        if event.event_type_value == "STEP_SUCCESS"
    }
    seconds = {
        "import dagster": imported - started,
        "open the instance": opened - imported,
        "load the definitions": loaded - opened,
        **steps,
        "between steps": ended - loaded - sum(steps.values()),
    }
    print(json.dumps(seconds))


def replay(store):
    """What the plain script needs to fit the same models: rows, folds, columns and trials."""
    import pandas as pd

    from mlops_assets.gateways.study_store import StudyStore
    from mlops_assets.modeling.folds import FOLD
    from mlops_assets.tuning.study import finished_trials

    experiment, training = store.experiment(), store.record("training_set")
    kinds = {column["name"]: column["type"] for column in training["schema"]}
    if experiment.training.estimator != ESTIMATOR or "boolean" in kinds.values():
        raise SystemExit(f"the plain script knows {ESTIMATOR} on numbers and categories only")
    with StudyStore(store.settings().study_url).read(store.record("tuned_hyperparameters")["study"]) as study:
        trials = finished_trials(study)
        space = study.trials[0].distributions
    import optuna

    return {
        "target": experiment.features.target,
        "positive": training["classes"][-1],
        "columns": list(kinds),
        "numeric": [name for name, kind in kinds.items() if kind == "numeric"],
        "categorical": [name for name, kind in kinds.items() if kind == "categorical"],
        "fold": pd.read_parquet(training["url"])[FOLD].tolist(),
        "folds": experiment.features.split.folds,
        "seed": experiment.tuning.seed,
        "fixed": experiment.training.parameters,
        "resamples": experiment.training.bootstrap,
        "workers": min(os.cpu_count() or 1, 8),
        "space": {n: optuna.distributions.distribution_to_json(d) for n, d in space.items()},
        "trials": [{"parameters": t.parameters, "folds": len(t.folds)} for t in trials],
    }


def same(store, reached):
    """Stop when the two did not reach the same scores: then they did not do the same work."""
    metric = store.record("evaluation")["metrics"]["roc_auc"]
    pairs = {
        "cv": (store.record("tuned_hyperparameters")["score"], reached["cv"]),
        "test": (metric["value"], reached["test"]),
    }
    for name, (ours, plain) in pairs.items():
        if abs(ours - plain) > TOLERANCE:
            raise SystemExit(f"{name}: the pipeline reached {ours}, the plain script {plain}")
    return pairs


def round_of(csv, target, plan):
    """One pipeline run, one plain run, one deployment: seconds of each, and where they went."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "project", csv, target)
        load = os.getloadavg()[0]
        whole, parts = store.run("retrain")
        parts["start and end of the process"] = whole - sum(parts.values())
        plan.write_text(json.dumps(replay(store)), encoding="utf-8")
        plain, said = command([SCRIPT, csv, plan], {})
        script = json.loads(said)
        pairs = same(store, script["reached"])
        try:
            deployment, deploy = store.run("deploy")
        finally:
            store.retire()
    deploy["start and end of the process"] = deployment - sum(deploy.values())
    print(
        f"load {load:.1f}: pipeline {whole:.1f} s, plain {plain:.1f} s, ratio {whole / plain:.2f};"
        f" deployment {deployment:.1f} s; best CV {pairs['cv'][1]:.6f},"
        f" test {pairs['test'][1]:.6f}",
        flush=True,
    )
    return {
        "whole": {"pipeline": whole, "plain": plain, "deployment": deployment},
        "pipeline": parts,
        "plain": script["seconds"],
        "deployment": deploy,
    }


def medians(rounds, part):
    return {k: statistics.median(r[part][k] for r in rounds) for k in rounds[0][part]}


def report(rounds):
    for part in ("pipeline", "plain", "deployment"):
        print(f"\n{part}, median seconds")
        for name, seconds in medians(rounds, part).items():
            if seconds >= 0.05:
                print(f"  {seconds:6.2f}  {name}")
    whole = medians(rounds, "whole")
    ratios = sorted(r["whole"]["pipeline"] / r["whole"]["plain"] for r in rounds)
    deployed = sorted(
        (r["whole"]["pipeline"] + r["whole"]["deployment"]) / r["whole"]["plain"] for r in rounds
    )
    print(f"\nmedians: {', '.join(f'{name} {s:.1f} s' for name, s in whole.items())}")
    print(f"ratio retrain / plain: median {statistics.median(ratios):.2f}, {shown(ratios)}")
    print(f"ratio retrain and deploy / plain: median {statistics.median(deployed):.2f}")


def shown(values):
    return "pairs " + ", ".join(f"{value:.2f}" for value in values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", nargs="?", type=Path, help="the data")
    parser.add_argument("--target", default="Churn", help="its binary target")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--drive", metavar="JOB", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drive:
        drive(asked.drive)
        return
    if asked.csv is None:
        parser.error("name the CSV file")
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "replay.json"
        rounds = [round_of(asked.csv.absolute(), asked.target, plan) for _ in range(asked.rounds)]
    report(rounds)


if __name__ == "__main__":
    main()
