"""Whether the data is what the schema says, and whether the label leaks."""

from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.records import FeatureTable, TrainingSet


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(asset_checks=[_matches_schema(experiment), _no_leaks(experiment)])


def _matches_schema(experiment: Experiment) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=names.MATCHES_SCHEMA,
        asset=names.asset_key(experiment.name, names.FEATURES),
        blocking=True,
        description="Every column has the type written down for it. Fails on missing columns, "
        "changed types, and unreadable values in more than 1% of the rows.",
    )
    @names.inspected_once
    def matches_schema(features: FeatureTable) -> dg.AssetCheckResult:
        blocking = [v for v in features.violations if v["blocking"]]
        return dg.AssetCheckResult(
            passed=not blocking,
            description=_summary(blocking, "columns do not match their schema"),
            metadata=_findings(features.violations) | {"schema": features.schema_url},
        )

    return matches_schema


def _no_leaks(experiment: Experiment) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=names.LABELS_DO_NOT_LEAK,
        asset=names.asset_key(experiment.name, names.TRAINING_SET),
        blocking=True,
        description="No row stands on both sides of the split, no feature alone determines the "
        "target, no feature is newer than its label.",
    )
    @names.inspected_once
    def labels_do_not_leak(training_set: TrainingSet) -> dg.AssetCheckResult:
        blocking = [leak for leak in training_set.leaks if leak["blocking"]]
        return dg.AssetCheckResult(
            passed=not blocking,
            description=_summary(blocking, "leaks"),
            metadata=_findings(training_set.leaks),
        )

    return labels_do_not_leak


def _summary(blocking: list[dict[str, Any]], what: str) -> str:
    if not blocking:
        return "nothing blocks"
    first = {k: v for k, v in blocking[0].items() if k != "blocking"}
    return f"{len(blocking)} {what}, first: {', '.join(f'{k} {v}' for k, v in first.items() if v)}"


def _findings(found: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The findings as a table, when there are any."""
    if not found:
        return {"findings": 0}
    records = [
        dg.TableRecord(
            {k: v if isinstance(v, bool | int | float) else str(v) for k, v in f.items()}
        )
        for f in found
    ]
    return {"findings": len(found), "table": dg.MetadataValue.table(records)}
