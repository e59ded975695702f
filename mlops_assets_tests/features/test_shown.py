"""What the pages of the feature assets show."""

import pandas as pd

from mlops_assets.features import shown
from mlops_assets.features.spec import FeaturesSpec
from mlops_assets.modeling.folds import EVENT_TIME, FOLD, GROUP, LABEL, ROW, SPLIT


def test_every_column_of_the_training_set_comes_from_one_of_the_features() -> None:
    spec = FeaturesSpec.model_validate(
        {"source": {"kind": "csv", "path": "a.csv"}, "target": "churned", "event_time": "month"}
    )
    columns = ["plan", "age", LABEL, ROW, SPLIT, FOLD, EVENT_TIME]
    assert shown.origins(pd.DataFrame(columns=columns), spec) == {
        "plan": "plan", "age": "age", LABEL: "churned", EVENT_TIME: "month",
    }  # fmt: skip
    grouped = spec.model_copy(update={"group": "shop"})
    assert shown.origins(pd.DataFrame(columns=[*columns, GROUP]), grouped)[GROUP] == "shop"


def test_a_preview_keeps_cells_apart() -> None:
    frame = pd.DataFrame({"a": ["x|y"], "b": [None]})
    assert shown.preview(frame) == "| a | b |\n| --- | --- |\n| x\\|y | None |"
