"""Our endpoint for long at a steady load: `python bench/serving/soak.py`.

Open loop at 60% of the capacity measured first. Holds when no request fails, the worker's memory
stops growing after the first fifth, and the profiles it leaves count exactly the rows sent.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import contenders
import model
import report
import session
from processes import cores, end_in_order

PARTS = 5
SHARE = 0.6
ALLOWANCE = 10.0
"""Megabytes that the worker may grow from the end of the first fifth to the end."""


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--requests", type=int, default=200_000)
    asked = options.parse_args()
    end_in_order()
    server_core, load_core = cores()
    with tempfile.TemporaryDirectory(prefix="bench-model-") as folder:
        trained = model.train(Path(folder))
        os.sched_setaffinity(0, {load_core})
        judged = soak(trained, asked.requests, core=server_core)
    for claim in judged:
        print(f"{claim.verdict}  {claim.said}: {claim.found}")
    sys.exit(any(claim.holds is False for claim in judged))


def soak(trained, requests, *, core):
    """The claims; whatever breaks the run breaks the one it belongs to."""
    (ours,) = (one for one in contenders.ALL if one.records)
    memory = []
    answered = f"{requests:,} requests are answered, rightly where it was checked"
    counted = "the profiles hold exactly the rows that were sent"
    try:
        with session.running(ours, Path(sys.executable), trained, core) as (one, _):
            one.verify()
            memory.extend(steady(one, requests))
    except session.ProfileError as error:
        profiles = report.Claim(counted, str(error), False)
    except session.ContenderError as error:
        return [report.Claim(answered, str(error), False)]
    else:
        profiles = report.Claim(counted, f"{one.rows:,}", True)
    return [
        report.Claim(answered, "no error", True),
        report.Claim(
            f"the worker grows by at most {ALLOWANCE:g} MB from 20% to 100% of the requests",
            f"{memory[0]:.1f} MB to {memory[-1]:.1f} MB",
            memory[-1] - memory[0] <= ALLOWANCE,
        ),
        profiles,
    ]


def steady(one, requests):
    """Send them in fifths; give the worker's megabytes after each."""
    capacity = one.closed(1, concurrency=session.CONCURRENCY, seconds=3).rate
    rate, each = SHARE * capacity, requests // PARTS
    print(f"capacity {capacity:,.0f} requests/s, load {rate:,.0f}/s", flush=True)
    for part in range(PARTS):
        result = one.at_rate(1, rate=rate, seconds=each / rate + 1, limit=each)
        memory = one.server.memory().serving
        print(
            f"  {(part + 1) / PARTS:4.0%}  p50 {result.quantile(0.5):.2f} ms  "
            f"p99 {result.quantile(0.99):.2f} ms  {memory:.1f} MB",
            flush=True,
        )
        yield memory


if __name__ == "__main__":
    main()
