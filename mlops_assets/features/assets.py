"""The assets from the user's data to the training set, and nothing of how models are made."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import digest_of, kind_of
from mlops_assets.features import checks, cleaning, inference, leakage, shown, splits
from mlops_assets.features.sources.base import SourceContext, SourceError
from mlops_assets.features.table import FeatureError, TableSchema
from mlops_assets.gateways.data_store import DataStore, frame_digest
from mlops_assets.gateways.records import FeatureTable, Snapshot, TrainingSet
from mlops_assets.modeling.folds import LABEL, SPLIT, TRAIN

if TYPE_CHECKING:
    import pandas as pd


class FeaturesConfig(dg.Config):
    """One-off knobs of a run."""

    infer_schema_again: bool = False
    """Forget the schema written down, and take the data as it is now."""


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(
        assets=[_source(experiment), _features(experiment), _training_set(experiment)]
    )


def _source(experiment: Experiment) -> dg.AssetsDefinition:
    spec = experiment.features.source
    kind = kind_of(type(spec))

    @names.asset(
        experiment,
        "features",
        names.SOURCE,
        kinds={kind, "parquet"},
        description=f"{experiment.description}\n\nAn immutable copy of the `{kind}` "
        "source. Equal data gives an equal digest, and nothing downstream is stale.",
        code=spec.fingerprint(),
    )
    def source(
        context: dg.AssetExecutionContext,
        data_store: dg.ResourceParam[DataStore],
        source_context: dg.ResourceParam[SourceContext],
    ) -> dg.MaterializeResult[Snapshot]:
        here = replace(source_context, directory=experiment.path.parent)
        try:
            frame = storable(spec.read(here))
        except SourceError as error:
            raise dg.Failure(f"{experiment.name}: {error}", allow_retries=False) from error
        digest = frame_digest(frame)
        url = data_store.write_table(f"{experiment.name}/snapshots/{digest[:16]}.parquet", frame)
        record = Snapshot(
            url=url,
            digest=digest,
            rows=len(frame),
            columns=tuple(frame.columns),
            location=spec.location(here),
            taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        context.log.info(f"{record.rows:,} rows x {len(record.columns)} columns: {record.location}")
        return dg.MaterializeResult(
            value=record,
            data_version=dg.DataVersion(digest[:16]),
            metadata={
                "dagster/row_count": record.rows,
                "columns": len(record.columns),
                "dagster/column_schema": dg.TableSchema(
                    columns=[dg.TableColumn(c, str(frame[c].dtype)) for c in record.columns]
                ),
                "location": record.location,
                "snapshot": dg.MetadataValue.path(url),
                "digest": digest,
                "preview": dg.MetadataValue.md(shown.preview(frame)),
            },
        )

    return source


def _features(experiment: Experiment) -> dg.AssetsDefinition:
    spec = experiment.features

    @names.asset(
        experiment,
        "features",
        names.FEATURES,
        kinds={"pandas", "parquet"},
        description="The snapshot with typed, cleaned columns. The schema is inferred once, "
        "written down, and enforced ever after.",
        code=_code(experiment),
        ins={"source": dg.AssetIn(names.asset_key(experiment.name, names.SOURCE))},
        check_specs=[checks.schema_spec(experiment.name)],
        dagster_type=FeatureTable,
    )
    def features(
        context: dg.AssetExecutionContext,
        config: FeaturesConfig,
        source: Snapshot,
        data_store: dg.ResourceParam[DataStore],
    ) -> Iterator[dg.MaterializeResult[FeatureTable]]:
        raw = data_store.read_table(source.url)
        path = schema_path(experiment)
        if data_store.exists(path) and not config.infer_schema_again:
            schema = TableSchema.from_json(data_store.read_json(data_store.at(path)))
        else:
            try:
                schema = inference.infer(raw, spec, experiment.task)
            except FeatureError as error:
                raise _refused(experiment, source, error) from error
            data_store.write_json(path, schema.to_json())
        conformed = cleaning.conform(raw, schema, spec, keep=experiment.training.slices)
        digest = frame_digest(conformed.frame)
        record = FeatureTable(
            url=data_store.write_table(
                f"{experiment.name}/features/{digest[:16]}.parquet", conformed.frame
            ),
            digest=digest,
            rows=len(conformed.frame),
            schema=schema.to_json(),
            schema_url=data_store.at(path),
            violations=conformed.violations,
            snapshot=source,
        )
        for note in schema.notes:
            context.log.info(note)
        yield dg.MaterializeResult(
            value=record,
            data_version=dg.DataVersion(digest[:16]),
            metadata={
                "dagster/row_count": record.rows,
                "dagster/column_schema": _column_schema(schema),
                "dagster/column_lineage": _lineage(
                    experiment, names.SOURCE, {c: c for c in source.columns if c in conformed.frame}
                ),
                "schema": dg.MetadataValue.path(record.schema_url),
                "digest": digest,
                "not_features": dg.MetadataValue.json({d.column: d.reason for d in schema.dropped}),
                "violations": len(record.violations),
            },
            check_results=[checks.matches_schema(record)],
        )

    return features


def _training_set(experiment: Experiment) -> dg.AssetsDefinition:
    spec = experiment.features

    @names.asset(
        experiment,
        "features",
        names.TRAINING_SET,
        kinds={"pandas", "parquet"},
        description="Rows with a known label, divided so that nothing leaks into the held-out "
        "part: by time, by group, or within classes. Row ids of each side are kept.",
        code=_code(experiment),
        ins={"features": dg.AssetIn(names.asset_key(experiment.name, names.FEATURES))},
        check_specs=[checks.leaks_spec(experiment.name)],
        dagster_type=TrainingSet,
    )
    def training_set(
        context: dg.AssetExecutionContext,
        features: FeatureTable,
        data_store: dg.ResourceParam[DataStore],
    ) -> Iterator[dg.MaterializeResult[TrainingSet]]:
        if blocking := [v for v in features.violations if v["blocking"]]:
            raise dg.Failure(
                f"{experiment.name}: the features do not match their schema "
                f"({shown.in_words(blocking)}); see the check {names.MATCHES_SCHEMA}",
                allow_retries=False,
            )
        schema = TableSchema.from_json(features.schema)
        frame = labelled(data_store.read_table(features.url), schema)
        try:
            divided = splits.split(
                frame, spec, experiment.task, schema.inputs.names, keep=experiment.training.slices
            )
        except splits.SplitError as error:
            raise dg.Failure(f"{experiment.name}: {error}", allow_retries=False) from error
        digest = frame_digest(divided.frame)
        train = int((divided.frame[SPLIT] == TRAIN).sum())
        record = TrainingSet(
            url=data_store.write_table(
                f"{experiment.name}/training_sets/{digest[:16]}.parquet", divided.frame
            ),
            digest=digest,
            train_rows=train,
            test_rows=len(divided.frame) - train,
            schema=tuple(schema.inputs.to_json()),
            classes=schema.classes,
            ordered=divided.ordered,
            split=divided.words,
            leaks=leakage.find(divided.frame, schema.inputs, experiment.task),
            snapshot=features.snapshot,
        )
        context.log.info(
            f"{record.train_rows:,} training and {record.test_rows:,} held-out rows: {record.split}"
        )
        yield dg.MaterializeResult(
            value=record,
            data_version=dg.DataVersion(digest[:16]),
            metadata={
                "training_rows": record.train_rows,
                "held_out_rows": record.test_rows,
                "dagster/column_schema": _column_schema(schema),
                "dagster/column_lineage": _lineage(
                    experiment, names.FEATURES, shown.origins(divided.frame, spec)
                ),
                "split": record.split,
                "classes": dg.MetadataValue.json(shown.class_counts(divided.frame, schema)),
                "rows": dg.MetadataValue.path(record.url),
                "digest": digest,
            },
            check_results=[checks.labels_do_not_leak(record)],
        )

    return training_set


def _code(experiment: Experiment) -> str:
    """Fingerprint of what decides the columns: those of slices are kept although no feature."""
    slices, code = experiment.training.slices, experiment.features.fingerprint()
    return f"{code}-{digest_of(slices)}" if slices else code


def schema_path(experiment: Experiment) -> str:
    """Where the table's schema is written down: it changes with what the YAML says of the columns,
    not with the data or where it is read."""
    said = experiment.features.model_dump(mode="json", exclude={"source", "split"})
    canonical = json.dumps({**said, "task": experiment.task}, sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    return f"{experiment.name}/schemas/{digest}.json"


def storable(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Columns of mixed Python objects as text, which Parquet can hold."""
    import pandas as pd

    def stored(column: "pd.Series[Any]") -> "pd.Series[Any]":
        kind = pd.api.types.infer_dtype(column, skipna=True)
        if column.dtype != object or kind in ("string", "empty", "boolean", "date", "decimal"):
            return column
        return column.map(str, na_action="ignore")

    return frame.apply(stored)


def labelled(frame: "pd.DataFrame", schema: TableSchema) -> "pd.DataFrame":
    """The rows with their encoded label, missing where it is not known."""
    target = frame[schema.target]
    if schema.classes:
        codes = {label: float(code) for code, label in enumerate(schema.classes)}
        target = target.map(codes, na_action="ignore")
    return frame.assign(**{LABEL: target.astype("float64")})


def _column_schema(schema: TableSchema) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in schema.inputs.columns
        ]
    )


def _lineage(experiment: Experiment, part: str, origins: dict[str, str]) -> dg.TableColumnLineage:
    """Which column of the asset before each column was made from."""
    key = names.asset_key(experiment.name, part)
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(key, origin)] for name, origin in origins.items()}
    )


def _refused(experiment: Experiment, source: Snapshot, error: FeatureError) -> dg.Failure:
    lines = "\n".join(f"  - {problem}" for problem in error.problems)
    return dg.Failure(
        f"{experiment.name}: the data of {source.location} does not fit features: in "
        f"{experiment.path.name}\n{lines}",
        allow_retries=False,
    )
