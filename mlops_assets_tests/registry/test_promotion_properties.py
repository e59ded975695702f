"""What must hold of every decision, whatever was measured."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mlops_assets.gateways.records import Comparison, Evaluation, Footprint, Measured
from mlops_assets.modeling.tasks import METRICS, metrics_for
from mlops_assets.registry.promotion import beats_champion, quality_floor
from mlops_assets.registry.spec import PromotionSpec
from mlops_assets_tests.registry.evaluations import compared, decided, evaluated

NAMES = metrics_for("binary_classification")
NUMBERS = st.floats(-1, 1) | st.just(float("nan"))
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Without a limit of time: machines are busy."""
FLOORS = st.none() | st.floats(-1, 1)


@st.composite
def rules(draw: Any) -> dict[str, Any]:
    kind = draw(st.sampled_from(["superior", "non_inferior", "not_proven_worse", None]))
    if kind is None:
        return {"floor": draw(st.floats(-1, 1))}
    margin = 0.0 if kind == "superior" else draw(st.floats(0.001, 0.5))
    return {"rule": kind, "margin": margin, "floor": draw(FLOORS)}


@st.composite
def policies(draw: Any) -> PromotionSpec:
    names = st.sampled_from(NAMES)
    budget = st.none() | st.floats(0.01, 1)
    return PromotionSpec.model_validate(
        {
            "metrics": draw(st.dictionaries(names, rules(), max_size=3)),
            "slices": {"metrics": draw(st.dictionaries(names, rules(), max_size=1))},
            "budgets": {
                "calibration_error": draw(budget),
                "latency_ms": draw(budget),
                "bundle_mb": draw(budget),
                "changed_predictions": draw(budget),
            },
            "incomparable": draw(st.sampled_from(["refuse", "floors_only"])),
        }
    ).resolved("roc_auc")


@st.composite
def judged(draw: Any) -> tuple[PromotionSpec, Evaluation]:
    """A policy, and an evaluation that measured what it asks for."""
    policy = draw(policies())
    comparison = draw(
        st.none()
        | st.builds(
            Comparison,
            st.integers(1, 9),
            st.floats(0, 1),
            st.builds(Footprint, st.floats(0, 2), st.floats(0, 2)),
            note=st.sampled_from(["", "", "it predicts other classes"]),
        )
    )
    measured = []
    comparable = comparison is not None and not comparison.note
    for where, asked in (("", policy.metrics), ("plan=gold", policy.slices.metrics)):
        for name, rule in asked.items():
            ends = sorted([draw(NUMBERS), draw(NUMBERS)])
            each = compared(name, ends[0], ends[1], where=where)
            if not (comparable and rule.rule):
                each = replace(each, champion=None, difference=None)
            if where or each.difference is not None:
                measured.append(each)
    evaluation = evaluated(
        policy,
        *measured,
        metrics={name: draw(NUMBERS) for name in {*policy.metrics, "calibration_error"}},
        champion=comparison,
    )
    footprint = Footprint(draw(st.floats(0, 2)), draw(st.floats(0, 2)))
    return policy, replace(evaluation, footprint=footprint)


def meets(name: Any, value: float, floor: float) -> bool:
    return value >= floor if METRICS[name].greater_is_better else value <= floor


@calmly
@given(judged())
def test_nothing_is_promoted_that_misses_a_floor_or_a_budget(
    case: tuple[PromotionSpec, Evaluation],
) -> None:
    policy, evaluation = case
    assume(decided(policy, evaluation).promoted)
    for name, rule in policy.metrics.items():
        if rule.floor is not None:
            assert meets(name, evaluation.metrics[name].value, rule.floor)
    for each in evaluation.measured:
        rule = policy.slices.metrics.get(each.metric) if each.column else None
        if rule and rule.floor is not None:
            assert meets(each.metric, each.candidate, rule.floor)
    budgets, cost = policy.budgets, evaluation.footprint
    assert budgets.latency_ms is None or cost.latency_ms <= budgets.latency_ms
    assert budgets.bundle_mb is None or cost.bundle_mb <= budgets.bundle_mb


@calmly
@given(judged(), st.text(min_size=1))
def test_against_a_champion_nothing_is_promoted_without_a_comparison(
    case: tuple[PromotionSpec, Evaluation], note: str
) -> None:
    policy, evaluation = case
    silent = Comparison(4, None, None, note=note)
    alone = replace(evaluation, measured=(), champion=silent)
    assert beats_champion(alone, policy).passed is (policy.incomparable == "floors_only")
    assert note in beats_champion(alone, policy).reason


@calmly
@given(judged())
def test_a_superior_candidate_has_its_whole_interval_on_the_better_side(
    case: tuple[PromotionSpec, Evaluation],
) -> None:
    policy, evaluation = case
    assume(beats_champion(evaluation, policy).passed)
    for each in evaluation.measured:
        if each.column or policy.metrics[each.metric].rule != "superior" or not each.difference:
            continue
        better = METRICS[each.metric].greater_is_better
        assert each.difference.low > 0 if better else each.difference.high < 0


@calmly
@given(judged(), st.randoms(use_true_random=False))
def test_the_order_of_metrics_and_slices_does_not_matter(
    case: tuple[PromotionSpec, Evaluation], random: Any
) -> None:
    policy, evaluation = case

    def shuffled(items: Any) -> list[Any]:
        found = list(items)
        random.shuffle(found)
        return found

    other = policy.model_copy(update={"metrics": dict(shuffled(policy.metrics.items()))})
    again = replace(
        evaluation,
        measured=tuple(shuffled(evaluation.measured)),
        metrics=dict(shuffled(evaluation.metrics.items())),
    )
    first, second = decided(policy, evaluation), decided(other, again)
    assert first.promoted is second.promoted
    assert set(first.refusals) == set(second.refusals)
    told = [sorted(each.to_json(), key=repr) for each in (first, second)]
    assert repr(told[0]) == repr(told[1])


@calmly
@given(judged(), st.floats(0, 1))
def test_a_wider_margin_refuses_nobody(case: tuple[PromotionSpec, Evaluation], more: float) -> None:
    policy, evaluation = case

    def widened(asked: Any) -> dict[Any, Any]:
        return {
            name: rule.model_copy(update={"margin": rule.margin + more})
            if rule.rule in ("non_inferior", "not_proven_worse")
            else rule
            for name, rule in asked.items()
        }

    slices = policy.slices.model_copy(update={"metrics": widened(policy.slices.metrics)})
    wider = policy.model_copy(update={"metrics": widened(policy.metrics), "slices": slices})
    assert decided(policy, evaluation).promoted <= decided(wider, evaluation).promoted


@calmly
@given(judged(), st.floats(0.001, 1))
def test_a_better_candidate_is_not_refused_where_a_worse_one_passes(
    case: tuple[PromotionSpec, Evaluation], by: float
) -> None:
    policy, evaluation = case

    def improved(each: Measured) -> Measured:
        gain = by if METRICS[each.metric].greater_is_better else -by  # type: ignore[index]
        gap = each.difference
        moved = gap and replace(
            gap, value=gap.value + gain, low=gap.low + gain, high=gap.high + gain
        )
        return replace(each, candidate=(each.candidate or 0) + gain, difference=moved)

    better = replace(evaluation, measured=tuple(map(improved, evaluation.measured)))
    assert decided(policy, evaluation).promoted <= decided(policy, better).promoted


@calmly
@given(judged())
def test_a_rule_more_promotes_nobody_else(case: tuple[PromotionSpec, Evaluation]) -> None:
    policy, evaluation = case
    assume(quality_floor(evaluation, policy).passed)
    for name in policy.metrics:
        fewer = {other: rule for other, rule in policy.metrics.items() if other != name}
        without = policy.model_copy(update={"metrics": fewer})
        rest = tuple(each for each in evaluation.measured if each.column or each.metric != name)
        less = replace(evaluation, measured=rest, asked=without.asks())
        assert decided(policy, evaluation).promoted <= decided(without, less).promoted


@calmly
@given(judged())
def test_a_decision_follows_from_what_was_measured_alone(
    case: tuple[PromotionSpec, Evaluation],
) -> None:
    policy, evaluation = case
    assert repr(decided(policy, evaluation)) == repr(decided(policy, evaluation))
