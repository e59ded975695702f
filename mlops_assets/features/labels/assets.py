"""The labels that came since, of experiments that log what they predict."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.features.labels import known
from mlops_assets.features.sources.base import SourceContext, SourceError
from mlops_assets.features.table import TableSchema
from mlops_assets.gateways.data_store import DataStore, frame_digest
from mlops_assets.gateways.realised import Labels
from mlops_assets.gateways.records import FeatureTable
from mlops_assets.monitoring.spec import LabelsSpec

KEPT = timedelta(days=1)
"""How long a table that another one has replaced stays, for runs that still read it."""


def build(experiment: Experiment) -> dg.Definitions:
    """Nothing where no labels can be joined."""
    spec = experiment.labels
    return dg.Definitions(assets=[] if spec is None else [_labels(experiment, spec)])


def _labels(experiment: Experiment, spec: LabelsSpec) -> dg.AssetsDefinition:
    source = spec.source or experiment.features.source

    @names.asset(
        experiment,
        "features",
        names.LABELS,
        kinds={kind_of(type(source)), "parquet"},
        description="What is known by now of the outcomes that were predicted, by "
        f"{'request' if spec.by == 'request' else 'entity and event time'}. Read anew in every "
        "window; equal labels give an equal digest, and no quality is computed again.",
        code=spec.fingerprint(),
        freshness_policy=names.every_window(experiment),
        ins={"features": dg.AssetIn(names.asset_key(experiment.name, names.FEATURES))},
    )
    def labels(
        context: dg.AssetExecutionContext,
        features: FeatureTable,
        data_store: dg.ResourceParam[DataStore],
        source_context: dg.ResourceParam[SourceContext],
    ) -> dg.MaterializeResult[Labels]:
        here = replace(source_context, directory=experiment.path.parent)
        now, schema = datetime.now(UTC), TableSchema.from_json(features.schema)
        try:
            found = known.read(source.read(here), spec, schema, now=now)
        except (SourceError, known.LabelsError) as error:
            raise dg.Failure(f"{experiment.name}: {error}", allow_retries=False) from error
        if found.unreadable:
            context.log.warning(f"{found.unreadable} rows of labels were left out")
        digest = frame_digest(found.frame)
        path = f"{experiment.name}/labels/{digest[:16]}.parquet"
        record = Labels(
            url=data_store.write_table(path, found.frame),
            digest=digest,
            rows=len(found.frame),
            known=int(found.frame["label"].notna().sum()),
            unreadable=found.unreadable,
            location=source.location(here),
        )
        _remove_replaced(data_store, experiment.name, keep=path, before=now - KEPT)
        return dg.MaterializeResult(
            value=record,
            data_version=dg.DataVersion(digest[:16]),
            metadata={
                "dagster/row_count": record.rows,
                "known": record.known,
                "unreadable": record.unreadable,
                "location": record.location,
                "digest": digest,
            },
        )

    return labels


def _remove_replaced(store: DataStore, experiment: str, *, keep: str, before: datetime) -> None:
    for file in store.listed(f"{experiment}/labels"):
        if file.path != keep and file.modified is not None and file.modified < before:
            store.remove(file.path)
