"""Decision trees that a test can write down, and their slow readings."""

import math
from dataclasses import dataclass

import numpy as np

from mlops_assets.serving.ensemble import TreeEnsemble
from mlops_assets.serving.explain import Explainer, Explanation

COLUMNS = 4


@dataclass(frozen=True)
class Leaf:
    cover: float
    value: tuple[float, ...]


@dataclass(frozen=True)
class Split:
    column: int
    threshold: float
    true: "Leaf | Split"
    false: "Leaf | Split"
    differs: bool = False
    missing_true: bool = False

    @property
    def cover(self) -> float:
        return self.true.cover + self.false.cover

    def holds(self, row) -> bool:
        x = row[self.column]
        if math.isnan(x):
            return self.missing_true
        return x != self.threshold if self.differs else x <= self.threshold


Tree = Leaf | Split


def flat(trees: list[Tree], base=(0.0,)) -> TreeEnsemble:
    """The trees as arrays."""
    rows: list[list] = []

    def add(tree: Tree) -> int:
        at = len(rows)
        if isinstance(tree, Leaf):
            rows.append([-1, 0.0, False, False, -1, -1, tree.cover, tree.value])
            return at
        zero = (0.0,) * len(base)
        tests = [tree.column, tree.threshold, tree.differs, tree.missing_true]
        rows.append([*tests, -1, -1, tree.cover, zero])
        rows[at][4], rows[at][5] = add(tree.true), add(tree.false)
        return at

    roots = [add(tree) for tree in trees]
    types = ("i4", "f8", "?", "?", "i4", "i4", "f8", "f8")
    arrays = [np.array(a, t) for a, t in zip(zip(*rows, strict=True), types, strict=True)]
    return TreeEnsemble(*arrays, np.array(roots, "i4"), np.array(base), "log_odds")


def raw(model: TreeEnsemble, row) -> np.ndarray:
    """What the ensemble says of one row."""
    total = model.base.copy()
    for node in model.roots:
        while model.feature[node] >= 0:
            x = row[model.feature[node]]
            if np.isnan(x):
                holds = model.missing_true[node]
            elif model.differs[node]:
                holds = x != model.threshold[node]
            else:
                holds = x <= model.threshold[node]
            node = model.true[node] if holds else model.false[node]
        total += model.value[node]
    return total


def explained(model, matrix, columns=COLUMNS) -> Explanation:
    names = tuple(f"c{i}" for i in range(columns))
    outputs = len(getattr(model, "base", getattr(model, "intercept", None)))
    return Explainer.of(model, names, outputs=outputs).explain(np.array(matrix, dtype=float))


def assert_adds_up(model: TreeEnsemble, matrix, found: Explanation) -> None:
    total = found.base_values + found.contributions.sum(axis=1)
    expected = np.array([raw(model, row) for row in matrix])
    np.testing.assert_allclose(total, expected, rtol=1e-9, atol=1e-9)
