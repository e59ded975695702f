"""How long Dagster takes to load many experiments: `python bench/definitions.py 1 3 300`.

Writes N experiments into a temporary folder, and times `dagster definitions validate` on them in a
fresh process each time, as a code server starts, in a home that Dagster has used before. With
`--profile` it shows where the time of the largest N goes instead.
"""

import argparse
import cProfile
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

EXPERIMENT = """\
name: experiment_{number:04d}
description: Generated experiment {number}, to measure loading.
owner: team:bench
task: binary_classification
features:
  source: {{kind: sklearn_bundled, dataset: breast_cancer}}
  target: target
  positive: malignant
tuning:
  n_trials: 20
  search_space:
    learning_rate: {{type: float, low: 0.02, high: 0.3, log: true}}
    max_leaf_nodes: {{type: int, low: 4, high: 32, log: true}}
training:
  estimator: sklearn.ensemble.HistGradientBoostingClassifier
  parameters: {{max_iter: 100}}
  retrain: {{cron: "{minute} 3 * * *"}}
registry:
  promotion: {{metrics: {{roc_auc: {{floor: 0.8}}}}}}
deployment:
  targets:
    - kind: local
"""


def generate(folder: Path, count: int) -> None:
    """Write `count` experiments, each its own YAML."""
    for number in range(count):
        text = EXPERIMENT.format(number=number, minute=number % 60)
        (folder / f"experiment-{number:04d}.yaml").write_text(text, encoding="utf-8")


def validate(configs: Path, home: str) -> tuple[float, float]:
    """Seconds, and CPU seconds, of `dagster definitions validate` on this folder's experiments."""
    environment = {**os.environ, "MLOPS_CONFIGS": str(configs), "DAGSTER_HOME": home}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    started, used = time.perf_counter(), cpu_of_children()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    seconds, cpu = time.perf_counter() - started, cpu_of_children() - used
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return seconds, cpu


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def profile(configs: Path, *, lines: int) -> None:
    """Print the functions that loading the folder spends most time in, imports left out."""
    from mlops_assets import definitions, settings

    chosen = settings.load({"MLOPS_CONFIGS": str(configs)})
    recorder = cProfile.Profile()
    started = time.perf_counter()
    recorder.enable()
    loaded = definitions.load(chosen)
    built = time.perf_counter()
    loaded.get_repository_def().load_all_definitions()
    recorder.disable()
    resolved = time.perf_counter()
    print(f"built in {built - started:.2f} s, resolved in {resolved - built:.2f} s (profiled)")
    pstats.Stats(recorder).sort_stats("cumulative").print_stats(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", nargs="*", type=int, default=[1, 3, 300])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the best counts")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    asked = parser.parse_args()
    for count in asked.counts if not asked.profile else [max(asked.counts)]:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
            generate(Path(folder), count)
            if asked.profile:
                profile(Path(folder), lines=60)
                continue
            validate(Path(folder), home)  # makes Dagster's databases
            runs = [validate(Path(folder), home) for _ in range(asked.repeat)]
        seconds, cpu = (sorted(measured) for measured in zip(*runs, strict=True))
        print(
            f"{count:>5} experiments: {seconds[0]:.2f} s (slowest {seconds[-1]:.2f} s), "
            f"CPU {cpu[0]:.2f} s (most {cpu[-1]:.2f} s)"
        )


if __name__ == "__main__":
    main()
