"""What the platform costs: `python bench/pipeline.py data.csv --target Churn`.

Each round times three fresh processes: `mlops run --no-deploy` on an empty store, a plain
scikit-learn and Optuna script that fits the same models on the same rows, and `mlops run
--deploy-only`. The first two must reach the same scores to 1e-9.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path(__file__).with_name("plain_script.py")
ESTIMATOR = "sklearn.ensemble.HistGradientBoostingClassifier"
MLOPS = "from mlops_assets.cli import main; main()"
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Done:
    """A process that ended well."""

    began: float
    """Unix time."""
    seconds: float
    cpu: float
    """Processor seconds of it and the processes it waited for, which noise from elsewhere moves
    less."""
    said: str


def command(arguments, environment):
    """Run Python with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, started = time.time(), time.perf_counter()
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
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Done(began, seconds, cpu, done.stdout)


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

    def run(self, part, option):
        """`mlops run` with this option: the process, and where its seconds went."""
        done = command(["-c", MLOPS, "run", "bench", option, "--json"], self.environment)
        return done, self._steps(json.loads(done.said)["runs"][part]["id"], done)

    def _steps(self, run_id, done):
        import dagster as dg  # noqa: TID251 - reads its event log

        with dg.DagsterInstance.from_config(self.environment["DAGSTER_HOME"]) as instance:
            events = [entry for entry in instance.all_logs(run_id) if entry.dagster_event]
        steps = {
            entry.step_key.removeprefix("bench__"): entry.dagster_event.event_specific_data
            for entry in events
            if entry.dagster_event.event_type_value == "STEP_SUCCESS"
        }
        seconds = {name: data.duration_ms / 1000 for name, data in steps.items()}
        first, last = events[0].timestamp, events[-1].timestamp
        return {
            "before the run: imports, instance, definitions": first - done.began,
            **seconds,
            "between steps": last - first - sum(seconds.values()),
            "after the run": done.began + done.seconds - last,
        }

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
    name = store.record("tuned_hyperparameters")["study"]
    with StudyStore(store.settings().study_url).read(name) as study:
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
        retrain, parts = store.run("retrain", "--no-deploy")
        plan.write_text(json.dumps(replay(store)), encoding="utf-8")
        plain = command([SCRIPT, csv, plan], {"OMP_NUM_THREADS": "1"})
        script = json.loads(plain.said.strip().rpartition("\n")[2])
        pairs = same(store, script["reached"])
        try:
            deploy, deploy_parts = store.run("deploy", "--deploy-only")
        finally:
            store.retire()
    print(
        f"load {load:.1f}: retrain {retrain.seconds:.1f} s ({retrain.cpu:.1f} s CPU), "
        f"plain {plain.seconds:.1f} s ({plain.cpu:.1f}), deploy {deploy.seconds:.1f} s; "
        f"ratio {retrain.seconds / plain.seconds:.2f} (CPU {retrain.cpu / plain.cpu:.2f}); "
        f"both best CV {pairs['cv'][1]:.6f}, test {pairs['test'][1]:.6f}",
        flush=True,
    )
    return {
        "whole": {"retrain": retrain.seconds, "plain": plain.seconds, "deploy": deploy.seconds},
        "cpu": {"retrain": retrain.cpu, "plain": plain.cpu, "deploy": deploy.cpu},
        "retrain": parts,
        "plain": script["seconds"],
        "deploy": deploy_parts,
    }


def medians(rounds, part):
    return {k: statistics.median(r[part][k] for r in rounds) for k in rounds[0][part]}


def report(rounds):
    for part in ("retrain", "plain", "deploy"):
        print(f"\n{part}, median seconds")
        for name, seconds in medians(rounds, part).items():
            if seconds >= 0.05:
                print(f"  {seconds:6.2f}  {name}")
    for part, unit in (("whole", "seconds"), ("cpu", "CPU seconds")):
        each = [r[part] for r in rounds]
        ratios = [r["retrain"] / r["plain"] for r in each]
        deployed = [(r["retrain"] + r["deploy"]) / r["plain"] for r in each]
        middle = ", ".join(f"{name} {value:.1f}" for name, value in medians(rounds, part).items())
        print(f"\n{unit}, medians: {middle}")
        print(f"  retrain / plain: {statistics.median(ratios):.2f}, pairs {shown(ratios)}")
        print(f"  retrain and deploy / plain: {statistics.median(deployed):.2f}")


def shown(values):
    return ", ".join(f"{value:.2f}" for value in values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path, help="the data")
    parser.add_argument("--target", default="Churn", help="its binary target")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "replay.json"
        rounds = [round_of(asked.csv.absolute(), asked.target, plan) for _ in range(asked.rounds)]
    report(rounds)


if __name__ == "__main__":
    main()
