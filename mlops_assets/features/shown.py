"""Tables and columns as people see them. Knows no Dagster."""

from typing import TYPE_CHECKING, Any

from mlops_assets.features.spec import FeaturesSpec
from mlops_assets.features.table import TableSchema
from mlops_assets.modeling.folds import EVENT_TIME, GROUP, LABEL, LABEL_TIME, RESERVED

if TYPE_CHECKING:
    import pandas as pd


def preview(frame: "pd.DataFrame") -> str:
    """Markdown table of the first rows."""
    head = frame.head(5).astype(str)
    lines = [list(head.columns), ["---"] * len(head.columns), *head.to_numpy().tolist()]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def class_counts(frame: "pd.DataFrame", schema: TableSchema) -> dict[str, int]:
    """Rows by label; empty for a regression."""
    if not schema.classes:
        return {}
    counts = frame[LABEL].value_counts()
    return {str(label): int(counts.get(code, 0)) for code, label in enumerate(schema.classes)}


def in_words(violations: list[dict[str, Any]]) -> str:
    return "; ".join(f"{v['column']}: {v['problem']}, {v['count']} rows" for v in violations)


def origins(training_set: "pd.DataFrame", spec: FeaturesSpec) -> dict[str, str]:
    """Which column of the features each column of the training set was taken from; without those
    that the split made up."""
    named = {
        LABEL: spec.target, EVENT_TIME: spec.event_time, LABEL_TIME: spec.label_time,
        GROUP: spec.group,
    }  # fmt: skip
    taken = {str(c): str(c) for c in training_set.columns if c not in RESERVED}
    return taken | {
        name: origin for name, origin in named.items() if origin and name in training_set
    }
