"""The model card (Mitchell et al. 2019) of one training run, generated from its records. Pure."""

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.records import Evaluation, Json, Metric, TrainedModel, TrainingSet
from mlops_assets.modeling.figures import table


def render(
    experiment: Experiment,
    *,
    model: TrainedModel,
    training_set: TrainingSet,
    evaluation: Evaluation,
    importances: tuple[Json, ...],
    code_version: str,
) -> str:
    """The card as Markdown."""
    snapshot = training_set.snapshot
    sections = [
        f"# {experiment.name}\n\n{experiment.description}",
        _facts(experiment, model, training_set, code_version),
        experiment.registry.card.markdown(),
        "## Quality on held-out rows\n\n" + metrics_table(evaluation.metrics),
        _threshold(experiment, model, training_set),
        "## Slices\n\n" + slices_table(evaluation.slices) if evaluation.slices else "",
        "## Beside the champion\n\n" + champion_text(evaluation) if evaluation.champion else "",
        "## What it looks at\n\n"
        + table(
            ("column", "loss of quality when shuffled"),
            [(e["column"], f"{e['importance']:.4f} ± {e['sd']:.4f}") for e in importances[:15]],
        ),
        "## Data\n\n"
        f"- Source: `{snapshot.location}`, {snapshot.rows:,} rows, taken {snapshot.taken_at}\n"
        f"- Snapshot digest: `{snapshot.digest}`\n"
        f"- Training set digest: `{training_set.digest}`\n"
        f"- Split: {training_set.split}",
        "## Inputs\n\n" + inputs_table(training_set.schema),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(
    experiment: Experiment, model: TrainedModel, training_set: TrainingSet, code_version: str
) -> str:
    parameters = ", ".join(f"{key}={value}" for key, value in sorted(model.parameters.items()))
    return "\n".join(
        [
            f"- Task: {experiment.task}, target `{experiment.features.target}`",
            f"- Estimator: `{experiment.training.estimator}`({parameters})",
            f"- Owner: {experiment.owner}",
            f"- Rows: {training_set.train_rows:,} training, {training_set.test_rows:,} held out",
            f"- MLflow run: `{model.run_id}`; bundle `{model.bundle_digest[:12]}`; "
            f"code `{code_version}`",
        ]
    )


def _threshold(experiment: Experiment, model: TrainedModel, training_set: TrainingSet) -> str:
    if model.threshold is None:
        return ""
    spec = experiment.training
    chosen = (
        "a fixed threshold of the YAML"
        if isinstance(spec.threshold, float)
        else f"the best for {spec.threshold} on rows the model had not seen"
    )
    calibrated = (
        "Probabilities are the estimator's own."
        if spec.calibration == "none"
        else f"Probabilities are calibrated ({spec.calibration}) on rows the model had not seen."
    )
    return (
        f"## Decision threshold\n\n`{training_set.classes[-1]}` is predicted from a probability of "
        f"{model.threshold:.4f} on, {chosen}. {calibrated}"
    )


def metrics_table(metrics: dict[str, Metric]) -> str:
    """Metrics with their confidence intervals, as a Markdown table."""
    return table(
        ("metric", "value", "interval"),
        [(name, f"{m.value:.4f}", f"{m.low:.4f} to {m.high:.4f}") for name, m in metrics.items()],
    )


def slices_table(slices: tuple[Json, ...]) -> str:
    """The metric per slice, as a Markdown table."""
    rows = [
        (
            entry["column"],
            entry["value"],
            f"{entry['rows']:,}",
            entry.get("note")
            or f"{entry['value_of']:.4f} ({entry['low']:.4f} to {entry['high']:.4f})",
        )
        for entry in slices
    ]
    metric = next((entry["metric"] for entry in slices if "metric" in entry), "metric")
    return table(("column", "value", "rows", metric), rows)


def champion_text(evaluation: Evaluation) -> str:
    """The champion on the same rows as Markdown: which one, what it scores, and what it costs."""
    champion = evaluation.champion
    if champion is None:
        return "There is no champion yet."
    if champion.note:
        return f"Version {champion.version} is not comparable: {champion.note}."
    rows = [
        (
            each.metric,
            f"{each.column} is {each.value}" if each.column else "all",
            f"{each.candidate:.4f}",
            f"{each.champion:.4f}",
            f"{gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})",
        )
        for each in evaluation.measured
        if (gap := each.difference) is not None
    ]
    costs = [f"{champion.changed_predictions:.1%} of the predictions are others."]
    if old := champion.footprint:
        new = evaluation.footprint
        costs.append(
            f"A row takes {new.latency_ms:.3g} ms, {old.latency_ms:.3g} the champion; the bundle "
            f"has {new.bundle_mb:.3g} MB, {old.bundle_mb:.3g} the champion's."
        )
    head = ("metric", "rows", "model", f"version {champion.version}", "difference")
    return f"{table(head, rows)}\n\n{' '.join(costs)}"


def inputs_table(schema: tuple[Json, ...]) -> str:
    """The input columns, as a Markdown table."""
    rows = []
    for column in schema:
        if column["type"] == "categorical":
            values = ", ".join(column["categories"][:8])
            values += ", ..." if len(column["categories"]) > 8 else ""
        elif column["type"] == "boolean":
            values = "false, true"
        else:
            values = f"{column['minimum']} to {column['maximum']}"
        missing = "may be missing" if column["nullable"] else ""
        rows.append((f"`{column['name']}`", column["type"], values, missing))
    return table(("column", "type", "seen in training", ""), rows)
