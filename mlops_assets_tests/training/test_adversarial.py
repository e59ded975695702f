"""Rows made to find a difference try what they say they try."""

import numpy as np

from mlops_assets.serving.ensemble import TreeEnsemble
from mlops_assets.training import adversarial
from mlops_assets_tests.builders import SCHEMA, make_columns

BASE = make_columns(50, seed=0)


def splits(*thresholds: tuple[int, float]) -> TreeEnsemble:
    """Nodes that split a column of SCHEMA at a threshold; nothing else of them is read."""
    count = len(thresholds)
    nothing = np.zeros(count, dtype=np.int32)
    return TreeEnsemble(
        feature=np.array([column for column, _ in thresholds], dtype=np.int32),
        threshold=np.array([threshold for _, threshold in thresholds]),
        differs=np.zeros(count, dtype=bool),
        missing_true=np.zeros(count, dtype=bool),
        true=nothing, false=nothing, roots=nothing, cover=np.ones(count),
        value=np.zeros((count, 1)), base=np.zeros(1), scale="value",
    )  # fmt: skip


def test_every_split_is_tried_with_its_neighbours_in_both_precisions() -> None:
    thresholds = [(0, 0.1), (0, 30.5), (1, 1e-300), (1, np.inf)]
    made = adversarial.rows(SCHEMA, splits(*thresholds), BASE)["threshold"]
    for column, name in ((0, "tenure"), (1, "charges")):
        for at in (t for c, t in thresholds if c == column and np.isfinite(t)):
            single = np.float32(at)
            wanted = {at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf), float(single)}
            wanted |= {float(np.nextafter(single, np.float32(way))) for way in (-np.inf, np.inf)}
            assert wanted <= set(made[name])
    assert {"monthly", "one year", "two years"} <= set(made["contract"])


def test_each_column_is_missing_alone_and_all_together() -> None:
    made = adversarial.rows(SCHEMA, None, BASE)["missing"]
    rows = [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)]
    assert rows[-1] == dict.fromkeys(SCHEMA.names)
    for name in SCHEMA.names:
        assert any(row[name] is None and row["tenure" if name != "tenure" else "senior"] is not None
                   for row in rows)  # fmt: skip


def test_words_that_training_never_met_and_numbers_of_all_sizes() -> None:
    made = adversarial.rows(SCHEMA, None, BASE)
    assert {"", "unseen", "monthly ", "TWO YEARS"} <= set(made["unseen_category"]["contract"])
    charges = made["extreme"]["charges"]
    assert {18.0, 120.0, 1e300, -1e300, 5e-324, -5e-324} <= {v for v in charges if v is not None}
    assert {bool, int, float} <= {type(value) for value in charges}
    assert any(value == 0 and np.signbit(value) for value in charges if value is not None)
    assert made["threshold"] == {name: [] for name in SCHEMA.names}


def test_without_a_held_out_row_there_are_still_rows() -> None:
    made = adversarial.rows(SCHEMA, splits((0, 3.5)), {name: [] for name in SCHEMA.names})
    assert all(len(made[kind]["tenure"]) > 0 for kind in made)
