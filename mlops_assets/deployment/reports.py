"""What preflight, shadow and rollout saw, in words and tables. Knows no target."""

from dataclasses import dataclass

from mlops_assets.deployment import preflight, shadow
from mlops_assets.deployment.breach import Breach
from mlops_assets.deployment.rollout import Outcome

SHOWN = 10
"""Slices with the most flips that are shown."""


@dataclass(frozen=True)
class Preflight:
    """Whether a version may be deployed, and why."""

    passed: bool
    reason: str
    numbers: dict[str, float]
    flips: str
    """Markdown table of label flips by slice; empty when there is none."""
    breach: Breach | None
    """Of the first problem."""


def preflight_of(flown: preflight.Report, shadowed: shadow.Report | None) -> Preflight:
    problems = [*flown.problems, *(shadowed.problems if shadowed else ())]
    numbers = {
        "start_s": round(flown.start_s, 2),
        "p50_ms": round(flown.p50_ms, 2),
        "p99_ms": round(flown.p99_ms, 2),
        "memory_mb": round(flown.memory_mb, 1),
    }
    if shadowed is not None:
        numbers |= {"shadow_rows": shadowed.rows, "score_shift": shadowed.score_shift}
        if shadowed.agreement is not None:
            numbers["agreement"] = shadowed.agreement
    return Preflight(
        passed=not problems,
        reason="; ".join(each.words for each in problems) or _fine(flown, shadowed),
        numbers=numbers,
        flips=_flips(shadowed) if shadowed and shadowed.flips else "",
        breach=problems[0].breach if problems else None,
    )


def steps(outcome: Outcome) -> str:
    """Markdown table of the steps of a rollout."""
    head = "| traffic | seconds | requests | errors | slow | stable requests | verdict |"
    lines = [head, "|" + " --- |" * 7]
    for step in outcome.steps:
        seen, beside = step.candidate, step.stable
        lines.append(
            f"| {step.given:.0%} | {step.seconds:.0f} | {seen.requests:,} | {seen.errors:,} "
            f"| {seen.slow:,} | {beside.requests:,} | {step.verdict} |"
        )
    return "\n".join(lines)


def _fine(flown: preflight.Report, shadowed: shadow.Report | None) -> str:
    said = (
        f"{flown.golden}; 99 of 100 requests within {flown.p99_ms:.1f} ms, {flown.memory_mb:.0f} MB"
    )
    if shadowed is None:
        return said
    agreed = "" if shadowed.agreement is None else f"same label for {shadowed.agreement:.1%}, "
    return (
        f"{said}; of {shadowed.rows:,} rows in the shadow of the live version {agreed}scores "
        f"{shadowed.score_shift:.3g} away on average"
    )


def _flips(shadowed: shadow.Report) -> str:
    lines = ["| slice | rows | other label | share |", "| --- | --- | --- | --- |"]
    for one in shadowed.flips[:SHOWN]:
        name = one.slice.replace("|", "\\|")
        lines.append(f"| {name} | {one.rows:,} | {one.flipped:,} | {one.share:.1%} |")
    return "\n".join(lines)
