"""How fast large tables are profiled, and in how much memory: `python bench/profiles.py`.

One file of 20 columns (14 of numbers, 2 of them whole, a tenth of one missing; 6 of words, with 3
to 100,000 values) is made once by a seed and read by all. Ours profiles it chunk by chunk, by one
process and by several; the others read it whole, in environments of their own:

- whylogs: `why.log(pandas=...)`, the same sketches as ours;
- Evidently: `DataSummaryPreset`, exact summaries of each column;
- NannyML: `UnivariateDriftCalculator`, Jensen-Shannon distance of ten chunks from 50,000 rows.

Seconds are those of reading and profiling, without the start of the process that is measured and
its imports; those of processes that it starts itself count. CPU seconds count imports too. Memory
is the largest sum over its processes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from serving import environments

HERE = Path(__file__).parent
FOLDER = Path(tempfile.gettempdir()) / "bench-profiles"
SEED = 20261126
GROUP = 250_000
"""Rows of a row group."""
VALUES = (3, 10, 100, 1000, 10_000, 100_000)
LIMIT = 1500
"""Megabytes that ours may take."""


@dataclass(frozen=True)
class Contender:
    name: str
    script: str
    packages: tuple[str, ...] = ()
    """Of its own environment; without any it runs in this one."""
    arguments: tuple[str, ...] = ()


CONTENDERS = (
    Contender("ours, 1 process", "ours.py", arguments=("1",)),
    Contender("ours, 2 processes", "ours.py", arguments=("2",)),
    Contender("whylogs", "plain_whylogs.py", ("whylogs", "pyarrow")),
    Contender("Evidently", "evidently_summary.py", ("evidently", "pyarrow")),
    # It imports statsmodels and does not ask for it.
    Contender("NannyML", "nannyml_drift.py", ("nannyml", "statsmodels", "pyarrow")),
)


def table(rows, rng):
    """Some rows, of which the words are as frequent as words are: the k-th by 1/k."""
    columns = {f"number_{k:02}": rng.normal(size=rows) for k in range(12)}
    columns["number_00"][rng.random(rows) < 0.1] = np.nan
    columns |= {f"count_{k}": rng.poisson(20, rows) for k in range(2)}
    for values in VALUES:
        drawn = np.floor(np.exp(rng.random(rows) * np.log(values))).astype(np.int64)
        words = pa.array([f"value-{k}" for k in range(values + 1)])
        columns[f"word_{values}"] = words.take(pa.array(drawn))
    return pa.table(columns)


def written(folder, rows):
    """The file with so many rows, made if need be."""
    path = folder / f"rows-{SEED}-{rows}.parquet"
    if not path.exists():
        rng = np.random.default_rng(SEED)
        partial = path.with_suffix(".partial")
        with pq.ParquetWriter(partial, table(1, rng).schema, compression="zstd") as writer:
            for start in range(0, rows, GROUP):
                writer.write_table(table(min(GROUP, rows - start), rng))
        partial.rename(path)
    return path


class Memory:
    """The largest sum of resident memory over a process and its children, megabytes."""

    def __init__(self, pid):
        self.peak = 0.0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self):
        self._ended.set()
        self._thread.join()
        return self.peak

    def _watch(self):
        while not self._ended.wait(0.05):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
                self.peak = max(self.peak, sum(one.memory_info().rss for one in tree) / 1e6)
            except psutil.Error:
                continue


def measure(contender, python, path, timeout):
    """Figures of one run, or why there are none."""
    command = [python, "-W", "ignore", HERE / "profilers" / contender.script, path]
    environment = {**os.environ, "PYTHONPATH": "" if contender.packages else str(HERE.parent)}
    load, cpu = os.getloadavg()[0], _cpu()
    process = subprocess.Popen(
        [*map(str, command), *contender.arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    memory = Memory(process.pid)
    try:
        said, complaints = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"not done within {timeout} s"
    finally:
        peak = memory.end()
    if process.returncode:
        return (complaints.strip().splitlines() or ["no word"])[-1][:200]
    told = json.loads(said.splitlines()[-1])
    return {**told, "memory": peak, "load": load, "cpu": _cpu() - cpu}


def _cpu():
    """Seconds of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def line(contender, rows, found):
    if isinstance(found, str):
        return f"| {contender.name} | {rows:,} | {found} | | | | | |"
    speed, size = rows / found["seconds"], found["bytes"] / 1000
    return (
        f"| {contender.name} | {rows:,} | {found['seconds']:.1f} | {speed:,.0f} | "
        f"{found['cpu']:.1f} | {found['memory']:,.0f} | {size:,.0f} | {found['load']:.1f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=lambda text: int(float(text)), nargs="+")
    parser.add_argument(
        "--seconds", type=float, default=60, help="a larger table after a quarter of it"
    )
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--environments", type=Path, default=environments.default())
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    print("| | rows | s | rows/s | CPU s | peak MB | result kB | load before |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    stopped, largest = set(), 0.0
    for rows in arguments.rows or (100_000, 1_000_000, 10_000_000):
        path = written(arguments.data, rows)
        for contender in CONTENDERS:
            if contender in stopped:
                continue
            found = run(contender, path, arguments)
            print(line(contender, rows, found), flush=True)
            if contender.packages and not grows(found, arguments.seconds):
                stopped.add(contender)
            elif not contender.packages:
                largest = max(largest, float("inf") if isinstance(found, str) else found["memory"])
    passed = largest < LIMIT
    print(f"\nours in at most {largest:,.0f} MB of {LIMIT:,}: {'PASS' if passed else 'FAIL'}")
    sys.exit(not passed)


def grows(found, seconds):
    """Whether a contender that holds all rows is given a larger table: it took a quarter of the
    time, and ten times its memory are there twice."""
    if isinstance(found, str):
        return False
    available = psutil.virtual_memory().available / 1e6
    return found["seconds"] * 4 <= seconds and found["memory"] * 20 <= available


def run(contender, path, arguments):
    python = Path(sys.executable)
    if contender.packages:
        name = f"profiles-{contender.name.lower()}"
        try:
            python = environments.python_of(arguments.environments, name, contender.packages)
        except environments.InstallError as error:
            return f"not installed: {error}"
    return measure(contender, python, path, 4 * arguments.seconds)


if __name__ == "__main__":
    main()
