"""Whether the data is what the schema says, and whether the label leaks.

Both were found while the asset was made; its own step says so, and blocks what comes after it.
"""

from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.gateways.records import FeatureTable, TrainingSet


def schema_spec(experiment: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        names.MATCHES_SCHEMA,
        asset=names.asset_key(experiment, names.FEATURES),
        blocking=True,
        description="Every column has the type written down for it. Fails on missing columns, "
        "changed types, and unreadable values in more than 1% of the rows.",
    )


def matches_schema(features: FeatureTable) -> dg.AssetCheckResult:
    blocking = [v for v in features.violations if v["blocking"]]
    return dg.AssetCheckResult(
        check_name=names.MATCHES_SCHEMA,
        passed=not blocking,
        description=_summary(blocking, "columns do not match their schema"),
        metadata=_findings(features.violations, blocking) | {"schema": features.schema_url},
    )


def leaks_spec(experiment: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        names.LABELS_DO_NOT_LEAK,
        asset=names.asset_key(experiment, names.TRAINING_SET),
        blocking=True,
        description="No row stands on both sides of the split, no feature alone determines the "
        "target, no feature is newer than its label.",
    )


def labels_do_not_leak(training_set: TrainingSet) -> dg.AssetCheckResult:
    blocking = [leak for leak in training_set.leaks if leak["blocking"]]
    return dg.AssetCheckResult(
        check_name=names.LABELS_DO_NOT_LEAK,
        passed=not blocking,
        description=_summary(blocking, "leaks"),
        metadata=_findings(training_set.leaks, blocking),
    )


def _summary(blocking: list[dict[str, Any]], what: str) -> str:
    if not blocking:
        return "nothing blocks"
    first = {k: v for k, v in blocking[0].items() if k != "blocking"}
    return f"{len(blocking)} {what}, first: {', '.join(f'{k} {v}' for k, v in first.items() if v)}"


def _findings(found: tuple[dict[str, Any], ...], blocking: list[Any]) -> dict[str, Any]:
    """How many block, of which none may; and the findings as a table, when there are any."""
    counts = {"value": len(blocking), "threshold": 0, "findings": len(found)}
    if not found:
        return counts
    records = [
        dg.TableRecord(
            {k: v if isinstance(v, bool | int | float) else str(v) for k, v in f.items()}
        )
        for f in found
    ]
    return {**counts, "table": dg.MetadataValue.table(records)}
