"""Our serving runtime beside the field: `python bench/serving/run.py --rounds 3`.

Every round starts each contender in turn on one core, makes sure that its answers are right, and
loads it from another core. Prints medians, and the claims as PASS or FAIL.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import contenders
import environments
import model
import report
import session
from processes import cores, end_in_order

import mlops_assets


def main():
    asked = parser().parse_args()
    end_in_order()
    chosen = [c for c in contenders.ALL if not asked.only or c.name in asked.only]
    absent = {}
    pythons = prepare(chosen, asked.environments, absent)
    server_core, load_core = cores()
    seconds = session.Seconds().times(0.3 if asked.quick else 1)
    end = time.monotonic() + 60 * asked.minutes
    with tempfile.TemporaryDirectory(prefix="bench-model-") as folder:
        trained = model.train(Path(folder))
        os.sched_setaffinity(0, {load_core})
        rounds = []
        for number in range(asked.rounds):
            print(f"round {number + 1}, load {os.getloadavg()[0]:.1f}", flush=True)
            # Every other round backwards: nobody always comes after the same one.
            turn = chosen if number % 2 == 0 else chosen[::-1]
            rounds.append(
                measured(turn, pythons, absent, trained, core=server_core, seconds=seconds, end=end)
            )
    found = report.Rounds(rounds)
    judged = report.claims(found)
    show(found, judged, absent, versions(chosen, pythons), markdown=asked.markdown)
    sys.exit(any(claim.holds is False for claim in judged))


def prepare(chosen, root, absent):
    """The interpreter of each contender; the reason in `absent` where there is none."""
    environments.compile_all(sys.executable, Path(mlops_assets.__file__).parent)
    pythons = {}
    for contender in chosen:
        if not contender.packages:
            pythons[contender.name] = Path(sys.executable)
            continue
        try:
            pythons[contender.name] = environments.python_of(
                root, contender.name, contender.packages
            )
        except environments.InstallError as error:
            absent[contender.name] = f"not installed: {error}"
    return pythons


def measured(turn, pythons, absent, trained, *, core, seconds, end):
    """The figures of one round; who fails is noted in `absent` and not tried again."""
    figures = {}
    for contender in turn:
        if time.monotonic() > end:
            absent.setdefault(contender.name, "the time was up")
        if contender.name in absent:
            continue
        python = pythons[contender.name]
        try:
            one = session.measure(contender, python, trained, core=core, seconds=seconds)
        except session.ContenderError as error:
            absent[contender.name] = str(error)
            print(f"  {contender.name}: {error}", flush=True)
            continue
        figures[contender.name] = one
        print(
            f"  {contender.name:20} {one['rate']:8,.0f} req/s  p50 {one['p50_alone']:6.2f} ms  "
            f"100 rows {one['rate_100']:6,.0f} req/s  CPU {one['cpu']:7,.0f} µs  "
            f"{one['memory']:4.0f} MB  start {one['start']:5.2f} s  "
            f"(generator {one['generator']:.0%} busy)",
            flush=True,
        )
    return figures


def versions(chosen, pythons):
    return {
        contender.name: environments.version(pythons[contender.name], contender.packages[0])
        for contender in chosen
        if contender.packages and contender.name in pythons
    }


def show(found, judged, absent, known, *, markdown):
    machine = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.1f}"
    )
    table = report.table(found, known)
    if ceiling := found.median(report.ECHO, "ceiling"):
        machine += f"; the load generator's own ceiling is {ceiling:,.0f} requests/s"
    print(f"\n{machine}.\n\n{table}\n")
    if markdown:
        print(report.verdicts(judged))
    else:
        for claim in judged:
            print(f"{claim.verdict}  {claim.said}: {claim.found}")
    for name, reason in absent.items():
        print(f"\nNot measured, or not to the end: {name}: {reason}")


def parser():
    known = [contender.name for contender in contenders.ALL]
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME,...",
        help="; ".join(known),
    )
    options.add_argument("--minutes", type=float, default=20, help="nobody is started later")
    options.add_argument("--quick", action="store_true", help="a third of the time, to rehearse")
    options.add_argument("--markdown", action="store_true", help="claims as a table as well")
    options.add_argument(
        "--environments",
        type=Path,
        default=environments.default(),
        help="folder for the contenders' virtual environments",
    )
    return options


if __name__ == "__main__":
    main()
