"""A first answer on Lambda: `python bench/serving/cold_start.py`.

Our handler in the package it needs, beside scikit-learn with MLflow, both under AWS's runtime
interface emulator. Prints unzipped sizes, and the time of the first answer and of later ones.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import emulator
import environments
import model
import packages
import report
from processes import cores, end_in_order
from session import TOLERANCE, ContenderError

LIMIT = 150.0
WARM_CALLS = 50
OURS, BARE, PEER = "ours", "ours-unrecorded", "mlflow"


@dataclass(frozen=True)
class Function:
    """One package on Lambda."""

    handler: str
    package: Path
    environment: dict
    answer: Callable[[dict], list]
    """Of the decoded body, the probability of the positive class of each row."""


@dataclass(frozen=True)
class Start:
    """One cold start."""

    cold: float
    """Seconds from the first call to its answer."""
    warm: float
    """Milliseconds of a later call, median."""


def main():
    asked = parser().parse_args()
    end_in_order()
    server_core, _ = cores()
    with tempfile.TemporaryDirectory(prefix="bench-cold-") as name:
        folder = Path(name)
        python = environments.empty(folder / "python")
        trained = model.train(made(folder / "model"))
        functions = built(python, folder, trained)
        sizes = {who: packages.megabytes(functions[who].package) for who in (OURS, PEER)}
        for who, size in sizes.items():
            print(f"{who}: {size:.0f} MB unzipped", flush=True)
        lambda_emulator = emulator.Emulator(python, made(folder / "emulator"))
        rounds = [
            {
                who: started(lambda_emulator, one, trained, made(folder / f"{who}{n}"), server_core)
                for who, one in functions.items()
            }
            for n in range(asked.rounds)
        ]
    judged = claims(sizes, rounds)
    for claim in judged:
        print(f"{claim.verdict}  {claim.said}: {claim.found}")
    sys.exit(any(claim.holds is False for claim in judged))


def built(python, folder, trained):
    """Ours with profiles to a local folder, ours that keeps nothing, and the peer."""
    handler, package = "mlops_assets.serving.aws_lambda.handler", made(folder / "ours")
    packages.ours(package)
    bare = {"MLOPS_BUNDLE": str(trained.bundle)}
    recording = json.dumps({"profiles_url": str(folder / "profiles"), "window_seconds": 86_400})
    return {
        OURS: Function(handler, package, {**bare, "MLOPS_RECORDING": recording}, probabilities),
        BARE: Function(handler, package, bare, probabilities),
        PEER: Function(
            "lambda_mlflow.handler",
            packages.peer(python, made(folder / "peer")),
            {"BENCH_MODEL": str(trained.mlflow)},
            lambda answer: [pair[-1] for pair in answer["predictions"]],
        ),
    }


def probabilities(answer):
    return [pair[-1] for pair in answer["probabilities"]]


def started(lambda_emulator, function, trained, folder, core):
    """A cold start and some warm calls, every answer checked."""
    where = {"folder": folder, "core": core}
    with lambda_emulator.function(
        function.handler, function.package, function.environment, **where
    ) as port:
        times = []
        for batch in trained.batches[1][: WARM_CALLS + 1]:
            body = model.encoded(model.dataframe_split(batch)).decode()
            began = time.perf_counter()
            answered = function.answer(emulator.invoke(port, body))
            times.append(time.perf_counter() - began)
            if abs(answered[0] - batch.expected[0]) > TOLERANCE:
                raise ContenderError(f"{function.handler} answers {answered}, not {batch.expected}")
    return Start(times[0], 1000 * statistics.median(times[1:]))


def claims(sizes, rounds):
    judged = [
        report.Claim(
            f"our package is below {LIMIT:g} MB unzipped",
            f"{sizes[OURS]:.0f} MB, {PEER} {sizes[PEER]:.0f} MB",
            sizes[OURS] < LIMIT,
        )
    ]
    for who in rounds[0]:
        cold = statistics.median(one[who].cold for one in rounds)
        warm = statistics.median(one[who].warm for one in rounds)
        print(f"{who}: first answer after {cold:.2f} s, later ones after {warm:.1f} ms")
    ratio = statistics.median(one[PEER].cold / one[OURS].cold for one in rounds)
    sooner = report.Claim("our first answer comes sooner", f"{ratio:.1f} times as soon", ratio > 1)
    return [*judged, sooner]


def made(folder):
    folder.mkdir()
    return folder


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    return options


if __name__ == "__main__":
    main()
