"""Whether a model may become a version, and the champion. Pure."""

from dataclasses import dataclass

from mlops_assets.gateways.records import Comparison, Evaluation
from mlops_assets.modeling.tasks import METRICS, MetricName
from mlops_assets.registry.spec import RegistrySpec


@dataclass(frozen=True)
class Verdict:
    """What a gate says, and why."""

    passed: bool
    reason: str


def quality_floor(evaluation: Evaluation, spec: RegistrySpec) -> Verdict:
    """Every floor of the YAML is met by the point estimate on the held-out rows."""
    if not spec.floors:
        return Verdict(True, "the YAML sets no floor")
    misses: list[str] = []
    met: list[str] = []
    for name, floor in spec.floors.items():
        value = evaluation.metrics[name].value
        at_most = not METRICS[name].greater_is_better
        ok = value <= floor if at_most else value >= floor
        words = f"{name} {value:.4f}, {'at most' if at_most else 'at least'} {floor:g} wanted"
        (met if ok else misses).append(words)
    return Verdict(not misses, "; ".join(misses or met))


def beats_champion(evaluation: Evaluation, spec: RegistrySpec) -> Verdict:
    """The model is not worse than the champion by more than the margin, on the same rows."""
    comparison = evaluation.champion
    if comparison is None:
        return Verdict(True, "there is no champion yet")
    if comparison.difference is None:
        return Verdict(True, f"not comparable with version {comparison.version}: {comparison.note}")
    metric: MetricName = comparison.metric  # type: ignore[assignment]
    margin, gain = spec.champion.margin, comparison.difference.value
    if not METRICS[metric].greater_is_better:
        margin, gain = margin * abs(comparison.champion or 0.0), -gain
    # A difference of exactly the margin may come out a rounding error larger.
    return Verdict(gain >= -margin - 1e-12, _in_words(comparison, margin))


def _in_words(comparison: Comparison, margin: float) -> str:
    difference = comparison.difference
    assert difference is not None  # noqa: S101
    return (
        f"{comparison.metric} {comparison.candidate:.4f} against {comparison.champion:.4f} of "
        f"version {comparison.version} on the same rows: {difference.value:+.4f} "
        f"({difference.low:+.4f} to {difference.high:+.4f}), at most {margin:g} worse allowed"
    )
