"""Contributions against their definition: Shapley's average over all orders of the columns."""

import itertools
import json
import math

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.serving import groves
from mlops_assets_tests.serving.trees import (
    COLUMNS,
    Leaf,
    Split,
    Tree,
    assert_adds_up,
    explained,
    flat,
)

NAN = math.nan


def worth(tree: Tree, row, known) -> np.ndarray:
    """The tree's expectation where only the known columns of the row are."""
    if isinstance(tree, Leaf):
        return np.array(tree.value)
    if tree.column in known:
        return worth(tree.true if tree.holds(row) else tree.false, row, known)
    share = tree.true.cover / tree.cover if tree.cover else 0.5
    return share * worth(tree.true, row, known) + (1 - share) * worth(tree.false, row, known)


def by_definition(trees: list[Tree], row) -> np.ndarray:
    """(columns, outputs)"""
    subsets = [set(s) for k in range(COLUMNS) for s in itertools.combinations(range(COLUMNS), k)]
    result = []
    for column in range(COLUMNS):
        total = 0
        for known in subsets:
            if column not in known:
                weight = math.factorial(len(known)) * math.factorial(COLUMNS - 1 - len(known))
                gain = sum(worth(t, row, known | {column}) - worth(t, row, known) for t in trees)
                total = total + weight / math.factorial(COLUMNS) * gain
        result.append(total)
    return np.array(result)


NUMBERS = st.sampled_from([-1.0, 0.0, 1.0, 2.0])
VALUES = st.floats(-10, 10, allow_nan=False)
ROWS = st.lists(
    st.lists(NUMBERS | st.just(NAN), min_size=COLUMNS, max_size=COLUMNS), min_size=1, max_size=4
)


def trees(outputs: int) -> st.SearchStrategy[Tree]:
    leaves = st.builds(Leaf, st.integers(0, 9).map(float), st.tuples(*[VALUES] * outputs))

    def split(child):
        columns = st.integers(0, COLUMNS - 1)
        return st.builds(Split, columns, NUMBERS, child, child, st.booleans(), st.booleans())

    return st.recursive(leaves, split, max_leaves=12)


@settings(deadline=None, max_examples=150)
@given(data=st.data(), outputs=st.integers(1, 3), matrix=ROWS)
def test_contributions_are_shapley_values(data, outputs, matrix):
    drawn = data.draw(st.lists(trees(outputs), min_size=1, max_size=4))
    base = data.draw(st.tuples(*[VALUES] * outputs))
    model = flat(drawn, base)
    found = explained(model, matrix)
    expected = [by_definition(drawn, row) for row in matrix]
    np.testing.assert_allclose(found.contributions, expected, rtol=1e-9, atol=1e-9)
    unknown = base + sum(worth(tree, matrix[0], ()) for tree in drawn)
    np.testing.assert_allclose(found.base_values, unknown, rtol=1e-9, atol=1e-9)
    assert_adds_up(model, matrix, found)


def test_a_column_tested_again_and_again():
    deep = Split(0, 0.0, Leaf(3, (5.0,)), Leaf(1, (-2.0,)))
    deep = Split(1, 1.0, deep, Leaf(2, (1.0,)), differs=True, missing_true=True)
    tree = Split(0, 1.0, Split(0, 0.5, deep, Leaf(4, (7.0,))), Leaf(5, (3.0,)), missing_true=True)
    matrix = [[x, y, 0, 0] for x in (-1.0, 0.3, 0.7, 2.0, NAN) for y in (1.0, 2.0, NAN)]
    expected = [by_definition([tree], row) for row in matrix]
    np.testing.assert_allclose(explained(flat([tree]), matrix).contributions, expected, atol=1e-12)


def test_trees_of_one_leaf_move_nothing():
    found = explained(flat([Leaf(3, (2.5,)), Leaf(3, (0.0,))], base=(1.0,)), [[0, 1, 2, NAN]])
    assert found.base_values.tolist() == [3.5]
    assert not found.contributions.any()


def test_columns_of_equal_part_get_equal_shares_and_idle_ones_none():
    both = Split(1, 0.0, Leaf(1, (0.0,)), Leaf(1, (8.0,)))
    tree = Split(0, 0.0, Leaf(2, (0.0,)), both)
    found = explained(flat([tree]), [[1, 1, 5, 5]]).contributions[0, :, 0]
    assert found == pytest.approx([3.0, 3.0, 0.0, 0.0])


def random_trees(rng, *, count: int, depth: int, columns: int, outputs: int = 1) -> list[Tree]:
    """Trees with one branch as deep as asked, others of random depth."""

    def grow(left: int, cover: int, *, spine: bool) -> Tree:
        if not left or (not spine and rng.random() < 0.6):
            return Leaf(cover, tuple(rng.normal(size=outputs)))
        part = int(cover * rng.uniform(0.1, 0.9))
        children = grow(left - 1, part, spine=spine), grow(left - 1, cover - part, spine=False)
        column, threshold = int(rng.integers(columns)), rng.normal()
        return Split(column, threshold, *children, missing_true=bool(rng.random() < 0.5))

    return [grow(depth, 10**12, spine=True) for _ in range(count)]


def by_leaves(tree: Tree, row, columns: int) -> np.ndarray:
    """Shapley values from the paths to the leaves, subsets counted by size: for deep trees."""
    result = np.zeros(columns)

    def walk(node: Tree, path: dict[int, tuple[int, float]]) -> None:
        if isinstance(node, Leaf):
            for column, (one, zero) in path.items():
                others = [path[other] for other in path.keys() - {column}]
                result[column] += node.value[0] * (one - zero) * weighed(others)
            return
        for child, follows in ((node.true, node.holds(row)), (node.false, not node.holds(row))):
            one, zero = path.get(node.column, (1, 1.0))
            passed = (one * follows, zero * child.cover / node.cover)
            walk(child, path | {node.column: passed})

    def weighed(others: list[tuple[int, float]]) -> float:
        sizes = np.ones(1)
        for one, zero in others:
            sizes = np.append(0, sizes * one) + np.append(sizes * zero, 0)
        last = len(others)
        return sum(p / math.comb(last, k) for k, p in enumerate(sizes)) / len(sizes)

    walk(tree, {})
    return result


@pytest.mark.parametrize("columns", [5, 60])
def test_deep_trees_keep_their_precision(columns):
    rng = np.random.default_rng(0)
    [tree] = random_trees(rng, count=1, depth=30, columns=columns)
    matrix = rng.normal(size=(2, columns))
    expected = [by_leaves(tree, row, columns) for row in matrix]
    found = explained(flat([tree]), matrix, columns).contributions[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_large_ensembles_are_explained_in_parts():
    rng = np.random.default_rng(1)
    model = flat(random_trees(rng, count=120, depth=30, columns=20, outputs=2), (0.1, 0.2))
    assert len(list(groves.groves(model))) > 1
    matrix = rng.normal(size=(12, 20))
    matrix[rng.random(matrix.shape) < 0.1] = NAN
    found = explained(model, matrix, 20)
    assert_adds_up(model, matrix, found)
    alone = [explained(model, [row], 20).contributions[0] for row in matrix[:3]]
    np.testing.assert_allclose(found.contributions[:3], alone, atol=1e-12)


def of_lightgbm(node) -> Tree:
    if "leaf_value" in node:
        return Leaf(node.get("leaf_count", 1), (node["leaf_value"],))
    children = of_lightgbm(node["left_child"]), of_lightgbm(node["right_child"])
    missing = node["default_left"]
    return Split(node["split_feature"], node["threshold"], *children, missing_true=missing)


def of_xgboost(node, output: int, outputs: int) -> Tree:
    if "leaf" in node:
        return Leaf(node["cover"], tuple(node["leaf"] * (k == output) for k in range(outputs)))
    by_id = {child["nodeid"]: of_xgboost(child, output, outputs) for child in node["children"]}
    below = float(np.nextafter(np.float32(node["split_condition"]), np.float32(-np.inf)))
    children, missing = (by_id[node["yes"]], by_id[node["no"]]), node["missing"] == node["yes"]
    return Split(int(node["split"][1:]), below, *children, missing_true=missing)


def table(rows: int, columns: int = 8) -> np.ndarray:
    """Numbers with gaps, which float32 can hold."""
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(rows, columns)).astype(np.float32).astype(np.float64)
    matrix[rng.random(matrix.shape) < 0.1] = NAN
    return matrix


def test_contributions_are_those_of_lightgbm():
    matrix = table(600)
    target = (np.nansum(matrix[:, :3], axis=1) + matrix[:, 3] ** 2 > 1).astype(int)
    model = lightgbm.LGBMClassifier(n_estimators=50, num_leaves=31, verbose=-1, n_jobs=1)
    booster = model.fit(matrix, target).booster_
    theirs = booster.predict(matrix, pred_contrib=True)
    dumped = [of_lightgbm(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]
    found = explained(flat(dumped), matrix, 8)
    np.testing.assert_allclose(found.contributions[..., 0], theirs[:, :-1], rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.base_values[0], theirs[:, -1], rtol=1e-10)


@pytest.mark.parametrize("outputs", [1, 3])
def test_contributions_are_those_of_xgboost(outputs):
    matrix = table(600)
    score = np.nansum(matrix[:, :3], axis=1) + np.nan_to_num(matrix[:, 3]) ** 2
    asked = {"objective": "reg:squarederror", "max_depth": 6, "nthread": 1}
    if outputs > 1:
        score = np.digitize(score, [0, 1.5])
        asked |= {"objective": "multi:softprob", "num_class": outputs}
    data = xgboost.DMatrix(matrix, score)
    booster = xgboost.train(asked, data, 30)
    theirs = booster.predict(data, pred_contribs=True).reshape(len(matrix), outputs, 9)
    dump = booster.get_dump(with_stats=True, dump_format="json")
    dumped = [of_xgboost(json.loads(t), i % outputs, outputs) for i, t in enumerate(dump)]
    found = explained(flat(dumped, (0.0,) * outputs), matrix, 8)
    expected = theirs[:, :, :-1].swapaxes(1, 2)
    np.testing.assert_allclose(found.contributions, expected, rtol=0, atol=2e-5)
