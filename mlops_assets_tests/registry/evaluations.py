"""Evaluations as the gates read them, made from a few numbers."""

from collections.abc import Mapping
from typing import Any

from mlops_assets.gateways.records import Comparison, Evaluation, Footprint, Measured, Metric
from mlops_assets.modeling.tasks import MetricName
from mlops_assets.registry.checks import GATES
from mlops_assets.registry.promotion import Judged, decide
from mlops_assets.registry.spec import PromotionSpec

CHAMPION = Comparison(4, 0.1, Footprint(latency_ms=2.0, bundle_mb=1.0), note="")
COST = Footprint(latency_ms=1.0, bundle_mb=3.0)


def policy(tuned: MetricName = "roc_auc", **section: Any) -> PromotionSpec:
    return PromotionSpec.model_validate(section).resolved(tuned)


def compared(
    metric: str, low: float, high: float, *, champion: float = 0.8, where: str = "", rows: int = 900
) -> Measured:
    """A metric whose difference from the champion's has this interval; `where` is column=value."""
    column, _, value = where.partition("=")
    middle = (low + high) / 2
    return Measured(
        metric=metric,
        column=column,
        value=value,
        rows=rows,
        candidate=champion + middle,
        champion=champion,
        difference=Metric(middle, low, high),
        confidence=0.95,
        note="",
    )


def evaluated(
    asked: PromotionSpec,
    *measured: Measured,
    metrics: Mapping[str, float] | None = None,
    champion: Comparison | None = CHAMPION,
) -> Evaluation:
    values = metrics or {}
    return Evaluation(
        run_id="run",
        rows=900,
        metrics={name: Metric(v, v - 0.1, v + 0.1) for name, v in values.items()},
        slices=(),
        measured=measured,
        asked=asked.asks(),
        footprint=COST,
        champion=champion,
    )


def decided(asked: PromotionSpec, evaluation: Evaluation) -> Judged:
    return decide(evaluation, asked, GATES)
