"""Whether a model may become a version, and the champion. Pure.

An evaluation and the rules of the YAML become findings, one per rule with its numbers, and these a
verdict per gate. Every rule must hold. Against the champion a rule is a test of non-inferiority as
clinical trials have them (FDA, Non-Inferiority Clinical Trials, 2016): the interval of the paired
difference, not its middle, must lie on the right side of the margin, and superiority is that with
a margin of 0. As all rules must hold, the chance that a worse model passes them all is never above
the level of one, and none is corrected for the others (the intersection-union test, Berger 1982).
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mlops_assets.gateways.records import Comparison, Evaluation, Json, Measured, Metric
from mlops_assets.modeling.figures import table
from mlops_assets.modeling.tasks import METRICS, MetricName
from mlops_assets.registry.spec import MetricRule, PromotionSpec

_STALE = "the evaluation was made for other rules: materialize it again"
_MOST_TOLD = 5
"""Findings in a reason, which also becomes a tag; all of them stand in the verdict."""
_ROUNDING = 1e-12
"""Smaller differences are of the arithmetic, not of the models."""


@dataclass(frozen=True)
class Finding:
    """What one rule found."""

    subject: str
    """A metric, a metric on a slice, or a budget."""
    rule: Literal["superior", "non_inferior", "not_proven_worse", "floor", "budget"]
    result: Literal["passed", "failed", "not judged"]
    reason: str
    """One sentence."""
    wanted: float | None = None
    """The floor, the budget, or the margin of a rule against the champion."""
    candidate: float | None = None
    champion: float | None = None
    difference: Metric | None = None
    """Candidate minus champion, with the interval that was judged."""


@dataclass(frozen=True)
class Verdict:
    """What a gate says, and why."""

    passed: bool
    reason: str
    findings: tuple[Finding, ...] = ()


Judge = Callable[[Evaluation, PromotionSpec], Verdict]
"""A gate: an evaluation, and the rules with their defaults filled in."""


@dataclass(frozen=True)
class Judged:
    """What all gates say."""

    verdicts: dict[str, Verdict]

    @property
    def promoted(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts.values())

    @property
    def refusals(self) -> dict[str, str]:
        """The reason by gate, of the gates that refuse."""
        return {name: v.reason for name, v in self.verdicts.items() if not v.passed}

    @property
    def refusal(self) -> str:
        """Every gate that refuses, with its reason, in a line."""
        return "; ".join(f"{name}: {why}" for name, why in self.refusals.items())

    def to_json(self) -> list[Json]:
        """One entry per finding: gate, subject, rule, result, reason, and the numbers."""
        return [
            {"gate": gate, **dataclasses.asdict(finding)}
            for gate, verdict in self.verdicts.items()
            for finding in verdict.findings
        ]


def decide(evaluation: Evaluation, policy: PromotionSpec, gates: Mapping[str, Judge]) -> Judged:
    """What each of `gates`, by name, says of the evaluation."""
    return Judged({name: judge(evaluation, policy) for name, judge in gates.items()})


def quality_floor(evaluation: Evaluation, policy: PromotionSpec) -> Verdict:
    """Every floor of the YAML is met by the point estimate on the held-out rows."""
    findings = [
        _floor(name, name, evaluation.metrics[name].value, rule.floor)
        for name, rule in policy.metrics.items()
        if rule.floor is not None
    ]
    return _verdict(findings, nothing="the YAML sets no floor")


def beats_champion(evaluation: Evaluation, policy: PromotionSpec) -> Verdict:
    """Every rule against the champion holds on the held-out rows."""
    if verdict := _without_comparison(evaluation, policy):
        return verdict
    findings = [
        _against_champion(each.metric, policy.metrics[_name(each)], each, evaluation.champion)
        for each in evaluation.measured
        if not each.column
    ]
    return _verdict(findings, nothing="no metric has a rule against the champion")


def no_slice_left_behind(evaluation: Evaluation, policy: PromotionSpec) -> Verdict:
    """Every rule holds on every slice that is large enough."""
    if evaluation.asked != policy.asks():
        return Verdict(False, _STALE)
    findings: list[Finding] = []
    for each in evaluation.measured:
        if not each.column:
            continue
        name, rule = _name(each), policy.slices.metrics[_name(each)]
        subject = f"{name} where {each.column} is {each.value} ({each.rows:,} rows)"
        if each.candidate is None:
            reason = f"{subject} is not judged: {each.note}"
            findings.append(Finding(subject, rule.rule or "floor", "not judged", reason))
            continue
        if rule.floor is not None:
            findings.append(_floor(subject, name, each.candidate, rule.floor))
        if rule.rule and each.difference is not None:
            findings.append(_against_champion(subject, rule, each, evaluation.champion))
    verdict = _verdict(findings, nothing="there is nothing to judge by slice")
    held = sum(each.result == "passed" for each in findings)
    if verdict.passed and held:
        silent = sum(each.result == "not judged" for each in findings)
        return replace(verdict, reason=f"{held} rules hold on slices; {silent} not judged")
    return verdict


def keeps_its_budgets(evaluation: Evaluation, policy: PromotionSpec) -> Verdict:
    """Calibration, latency, size and changed predictions stay within what the YAML allows."""
    champion, budgets = evaluation.champion, policy.budgets
    error = evaluation.metrics.get("calibration_error")
    old = champion.footprint if champion else None
    measured: dict[str, tuple[float | None, float | None]] = {
        "calibration_error": (error.value if error else None, None),
        "latency_ms": (evaluation.footprint.latency_ms, old.latency_ms if old else None),
        "bundle_mb": (evaluation.footprint.bundle_mb, old.bundle_mb if old else None),
        "changed_predictions": (champion.changed_predictions if champion else None, None),
    }
    findings = []
    for name, (candidate, of_champion) in measured.items():
        most = getattr(budgets, name)
        if most is not None:
            findings.append(_budget(name, candidate, of_champion, most))
    return _verdict(findings, nothing="the YAML sets no budget")


def _name(measured: Measured) -> MetricName:
    name: MetricName = measured.metric  # type: ignore[assignment]
    return name


def _without_comparison(evaluation: Evaluation, policy: PromotionSpec) -> Verdict | None:
    comparison = evaluation.champion
    if evaluation.asked != policy.asks():
        return Verdict(False, _STALE)
    if comparison is None:
        return Verdict(True, "there is no champion yet: floors and budgets alone decide")
    if not comparison.note:
        return None
    why = f"not comparable with version {comparison.version}, the champion: {comparison.note}"
    if policy.incomparable == "floors_only":
        return Verdict(
            True, f"{why}; registry.promotion.incomparable lets floors and budgets decide"
        )
    return Verdict(
        False,
        f"{why}; set registry.promotion.incomparable: floors_only to replace it nevertheless",
    )


def _floor(subject: str, name: MetricName, value: float, floor: float) -> Finding:
    at_most = not METRICS[name].greater_is_better
    passed = value <= floor if at_most else value >= floor
    reason = f"{subject} {value:.4f}, {'at most' if at_most else 'at least'} {floor:g} wanted"
    return Finding(subject, "floor", "passed" if passed else "failed", reason, floor, value)


def _against_champion(
    subject: str, rule: MetricRule, measured: Measured, champion: Comparison | None
) -> Finding:
    asked, gap = rule.rule, measured.difference
    assert asked is not None and gap is not None and champion is not None  # noqa: S101, PT018
    greater = METRICS[_name(measured)].greater_is_better
    worst, best = (gap.low, gap.high) if greater else (-gap.high, -gap.low)
    if asked == "not_proven_worse":
        passed = best >= -rule.margin - _ROUNDING
    else:
        passed = worst > -rule.margin + _ROUNDING
    reason = (
        f"{subject} {_in_words(rule, passed)} the champion's: {gap.value:+.4f} "
        f"({gap.low:+.4f} to {gap.high:+.4f}), {measured.candidate:.4f} against "
        f"{measured.champion:.4f} of version {champion.version} on the same rows"
    )
    return Finding(
        subject,
        asked,
        "passed" if passed else "failed",
        reason,
        rule.margin,
        measured.candidate,
        measured.champion,
        gap,
    )


def _in_words(rule: MetricRule, passed: bool) -> str:
    by = f" by more than {rule.margin:g}" if rule.margin else ""
    if rule.rule == "superior":
        return "is better than" if passed else "is no better than"
    if rule.rule == "non_inferior":
        return f"is not worse{by} than" if passed else f"may be worse{by} than"
    return f"is not shown to be worse{by} than" if passed else f"is worse{by} than"


def _budget(name: str, value: float | None, champion: float | None, most: float) -> Finding:
    if value is None:
        reason = f"{name} is not judged: there is no champion to compare with"
        return Finding(name, "budget", "not judged", reason, most)
    beside = "" if champion is None else f", {champion:.4g} the champion's"
    reason = f"{name} {value:.4g}, at most {most:g} wanted{beside}"
    result: Literal["passed", "failed"] = "passed" if value <= most else "failed"
    return Finding(name, "budget", result, reason, most, value, champion)


def _verdict(findings: list[Finding], *, nothing: str) -> Verdict:
    failed = [each for each in findings if each.result == "failed"]
    passed = [each for each in findings if each.result == "passed"]
    told = failed or passed or findings
    words = [each.reason for each in told[:_MOST_TOLD]]
    if len(told) > _MOST_TOLD:
        words.append(f"and {len(told) - _MOST_TOLD} more")
    reason = "; ".join(words) or nothing
    return Verdict(not failed, reason, tuple(findings))


def findings_table(findings: tuple[Finding, ...]) -> str:
    """What each rule found, as a Markdown table; empty without findings."""
    if not findings:
        return ""
    rows = [
        (
            each.subject,
            each.rule,
            _number(each.candidate),
            _number(each.champion),
            f"{gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})" if gap else "",
            "" if each.wanted is None else f"{each.wanted:g}",
            each.result,
        )
        for each in findings
        for gap in (each.difference,)
    ]
    return table(("what", "rule", "model", "champion", "difference", "wanted", ""), rows)


def findings_of(entries: Iterable[Json]) -> tuple[Finding, ...]:
    """The findings that `Judged.to_json` wrote.

    Raises:
        TypeError: an entry was written by another version of this program.
    """
    found = []
    for entry in entries:
        values = {key: value for key, value in entry.items() if key != "gate"}
        gap = values.get("difference")
        found.append(Finding(**{**values, "difference": Metric(**gap) if gap else None}))
    return tuple(found)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
