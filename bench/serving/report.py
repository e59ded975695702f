"""What the rounds say: a table of medians, and the claims with their figures.

A ratio is taken within each round, where both contenders met the same machine, then its median.
"""

import statistics
from dataclasses import dataclass

OURS, BARE, ECHO, MLFLOW = "ours", "ours-unrecorded", "echo", "mlflow"
COLUMNS = {
    "rate": ("req/s, 1 row, c=8", "{:,.0f}"),
    "p50_alone": ("p50 ms, c=1", "{:.2f}"),
    "p99_alone": ("p99 ms, c=1", "{:.2f}"),
    "p50": ("p50 ms, c=8", "{:.2f}"),
    "p99": ("p99 ms, c=8", "{:.2f}"),
    "p50_fixed": ("p50 ms at 1,000/s", "{:.2f}"),
    "p99_fixed": ("p99 ms at 1,000/s", "{:.2f}"),
    "cpu": ("CPU µs/request", "{:,.0f}"),
    "rate_100": ("req/s, 100 rows, c=8", "{:,.0f}"),
    "cpu_100": ("CPU µs/request, 100 rows", "{:,.0f}"),
    "memory": ("memory MB", "{:.0f}"),
    "whole": ("all processes MB", "{:.0f}"),
    "start": ("start s", "{:.2f}"),
}


@dataclass(frozen=True)
class Claim:
    """What is said, what was found, and whether it holds; None: nobody to compare with."""

    said: str
    found: str
    holds: bool | None

    @property
    def verdict(self):
        return {True: "PASS", False: "FAIL", None: "----"}[self.holds]


class Rounds:
    """The figures of every round: a dictionary of contenders, each one of figures."""

    def __init__(self, rounds):
        self._rounds = rounds

    def names(self):
        return list(dict.fromkeys(name for one in self._rounds for name in one))

    def median(self, name, figure):
        found = [one[name][figure] for one in self._rounds if figure in one.get(name, {})]
        return statistics.median(found) if found else None

    def ratio(self, figure, name, other):
        """Median over the rounds of `name` by `other`."""
        found = [
            one[name][figure] / one[other][figure]
            for one in self._rounds
            if figure in one.get(name, {}) and figure in one.get(other, {})
        ]
        return statistics.median(found) if found else None


def claims(rounds):
    """All of them, judged."""
    return [
        *(
            at_least(rounds, "rate", "cpu", other, bound, "requests/s at one row")
            for other, bound in ((MLFLOW, 50), ("mlserver-sklearn", 25), ("mlserver-mlflow", 25),
                                 ("kserve", 25))
        ),
        at_least(rounds, "rate_100", "cpu_100", MLFLOW, 10, "rows/s at 100 rows a request"),
        below(rounds, "p50_alone", ECHO, 3, "p50 of one caller"),
        below(rounds, "p99", BARE, 3, "p99 of 8 callers"),
        below(rounds, "p99_fixed", BARE, 3, "p99 at 1,000 requests/s"),
        absolute(rounds, "memory", 150, "memory of the worker", "MB"),
        absolute(rounds, "start", 1.5, "start to the first right answer", "s"),
        *profiling(rounds),
    ]  # fmt: skip


def at_least(rounds, rate, cpu, other, bound, what):
    """Judged by requests per second; processor time, which noise moves less, is told beside it."""
    ratio, spent = rounds.ratio(rate, OURS, other), rounds.ratio(cpu, other, OURS)
    said = f"{what}: at least {bound} times {other}'s"
    if ratio is None:
        return Claim(said, "not measured", None)
    return Claim(said, f"{ratio:.1f} times, on {spent:.1f} times less CPU each", ratio >= bound)


def below(rounds, figure, other, bound, what):
    ratio = rounds.ratio(figure, OURS, other)
    said = f"{what}: below {bound} times that of {other}"
    return Claim(said, shown(ratio, "{:.2f} times"), None if ratio is None else ratio < bound)


def absolute(rounds, figure, bound, what, unit):
    value = rounds.median(OURS, figure)
    holds = None if value is None else value < bound
    return Claim(f"{what}: below {bound:g} {unit}", shown(value, f"{{:.2f}} {unit}"), holds)


def profiling(rounds):
    """What recording takes of the capacity, and of the processor for a row, at one row a request
    and at a hundred."""
    kept = [rounds.ratio(figure, OURS, BARE) for figure in ("rate", "rate_100")]
    if None in kept:
        return []
    sizes = ("one row", "cpu", 1), ("100 rows", "cpu_100", 100)
    one, hundred = (
        (rounds.median(OURS, figure) - rounds.median(BARE, figure)) / rows
        for _, figure, rows in sizes
    )
    return [
        *(
            Claim(f"profiling at {size}: at most 25% of the capacity", f"{1 - k:.1%}", k >= 0.75)
            for (size, _, _), k in zip(sizes, kept, strict=True)
        ),
        Claim(
            "CPU of profiling a row, 100 rows a request: less than at one row",
            f"{hundred:.1f} µs beside {one:.1f} µs",
            hundred < one,
        ),
    ]


def shown(value, form):
    return "not measured" if value is None else form.format(value)


def table(rounds, versions):
    """Markdown; contenders by requests per second."""
    names = sorted(rounds.names(), key=lambda name: rounds.median(name, "rate"))
    lines = [
        "| server | " + " | ".join(title for title, _ in COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name in names:
        cells = [
            "" if (value := rounds.median(name, figure)) is None else form.format(value)
            for figure, (_, form) in COLUMNS.items()
        ]
        lines.append(f"| {name} {versions.get(name, '')}".rstrip() + f" | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(judged):
    """Markdown."""
    lines = ["| claim | found | |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {c.said} | {c.found} | {c.verdict} |" for c in judged)])
