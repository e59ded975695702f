"""CPU per row of profiling and logging on an endpoint, beside whylogs itself; memory of it all.

Run: `.venv/bin/python bench/recording.py`
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.encoding import Categories, InputEncoding
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.recorder import Recorder
from mlops_assets.serving.recording import Bounds, Recording
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.serving.scorer import Scores

SCHEMA = InputSchema(
    (
        *(Column(f"n{k}", "numeric") for k in range(12)),
        *(Column(f"c{k}", "categorical") for k in range(6)),
        *(Column(f"b{k}", "boolean") for k in range(2)),
    )
)
MANIFEST = Manifest(
    model="bench", run_id="r", task="binary_classification", runtime="onnx", model_file="m.onnx",
    schema=SCHEMA, classes=("No", "Yes"), threshold=0.5, data_digest="d", code_version="c",
    created_at="now", files={},
)  # fmt: skip
WORDS = ("monthly", "one year", "two years", "other")
KNOWN = Categories(
    {word: float(code) for code, word in enumerate(WORDS)}, missing=4.0, unknown=-1.0
)
ENCODING = InputEncoding(
    SCHEMA.names, tuple(KNOWN if c.type == "categorical" else None for c in SCHEMA.columns)
)
NOW = datetime.now(UTC)


def rows(n: int) -> dict[str, list[Any]]:
    rng = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {}
    for column in SCHEMA.columns:
        if column.type == "numeric":
            columns[column.name] = [None if v > 2 else float(v) for v in rng.normal(size=n)]
        elif column.type == "boolean":
            columns[column.name] = [bool(v) for v in rng.random(n) < 0.3]
        else:
            columns[column.name] = [(*WORDS, None)[k] for k in rng.integers(0, 5, n)]
    return columns


def answers(n: int) -> Scores:
    return Scores(["Yes"] * n, [[0.25, 0.75]] * n)


def cpu(run: Callable[[], Any], n: int, *, rounds: int = 5) -> float:
    """Microseconds of CPU per row, the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
    return best / n * 1e6


def ours(n: int) -> float:
    profile, columns, scores = Profile(SCHEMA, when=NOW), rows(n), answers(n)
    return cpu(lambda: profile.track(columns, scores), n)


def recorded(n: int, *, size: int, logged: bool) -> float:
    """Requests of `size` rows through the recorder, 500 rows to a batch: handing over, counting,
    profiling, logging, writing files."""
    columns = rows(500)
    requests = [
        {name: values[k : k + size] for name, values in columns.items()}
        for k in range(0, 500, size)
    ]
    answer = answers(size)
    said = np.array(answer.probabilities)
    # As the model was asked with it, before the recorder is.
    scored = [(each, replace(answer, asked=ENCODING.matrix(each), said=said)) for each in requests]

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            recording = Recording(
                profiles_url=f"{folder}/profiles",
                window_seconds=3600,
                log_url=f"{folder}/log" if logged else None,
            )
            recorder = Recorder(
                MANIFEST,
                recording=recording,
                version="1",
                spool=Path(folder) / "s",
                encoding=ENCODING,
                bounds=Bounds(pending_cells=20 * 999),  # half of it wakes the recorder
            )
            recorder.start()
            for batch in range(n // 500):
                for k, (request, scores) in enumerate(scored):
                    name = f"{batch}-{k}"
                    recorder.submit(request, scores, when=time.time(), request_id=name)
                while recorder.pending_rows:
                    time.sleep(0.02)
            recorder.close()
            assert recorder.dropped_rows == 0

    return cpu(run, n, rounds=5)


def plain(n: int) -> float:
    import pandas as pd

    from mlops_assets.monitoring import profiles

    profiles.prepare()
    from whylogs.core import DatasetProfile

    columns = rows(n)
    table = pd.DataFrame(
        {
            column.name: pd.Series(
                columns[column.name], dtype="float64" if column.type == "numeric" else "object"
            )
            for column in SCHEMA.columns
        }
    )
    profile = DatasetProfile()
    return cpu(lambda: profile.track(pandas=table), n, rounds=2)


def memory(program: str) -> str:
    """Resident MB at the end of a program, and the seconds it took."""
    started = time.perf_counter()
    script = (
        f"{program}\nfor line in open('/proc/self/status'):\n    'VmRSS' in line and print(line)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    megabytes = int(done.stdout.split()[-2]) / 1024
    return f"{megabytes:.0f} MB, {time.perf_counter() - started:.1f} s"


def main() -> None:
    for n in (50, 500, 5000, 100_000):
        print(f"sketches, {n:>7} rows at once        {ours(n):8.2f} us/row")
    for size in (1, 100):
        for logged in (False, True):
            said = f"recorder{' with log' if logged else ''}, {size}-row requests"
            print(f"{said:36} {recorded(50_000, size=size, logged=logged):8.2f} us/row")
    for n in (500, 100_000):
        print(f"whylogs, {n:>7} rows at once         {plain(n):8.2f} us/row")
    print("peak of this process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MB")
    print("numpy, onnxruntime              ", memory("import numpy, onnxruntime"))
    recording = (
        "import numpy, onnxruntime, sys; sys.path.insert(0, '.')\n"
        "from bench.recording import recorded\n"
        "recorded(20_000, size=1, logged={})"
    )
    print("with a recorder                 ", memory(recording.format(False)))
    print("with a recorder and its log     ", memory(recording.format(True)))


if __name__ == "__main__":
    main()
