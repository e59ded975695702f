"""Masks answer as onnxruntime does, to the last bit, wherever trees have masks."""

import math
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.modeling.conversion import links, tree_graph
from mlops_assets.modeling.conversion.convert import convert
from mlops_assets.modeling.conversion.graph import Graph
from mlops_assets.serving import mask_tables
from mlops_assets.serving.encoding import InputEncoding
from mlops_assets.serving.masks import FEW
from mlops_assets.serving.runtimes import onnx, onnx_links, onnx_trees
from mlops_assets_tests.serving.trees import COLUMNS, Leaf, Split, Tree, flat
from mlops_assets_tests.training.graphs import BINARY, MULTI, REGRESSION, fit, make_rows

ENCODING = InputEncoding(tuple(f"c{k}" for k in range(COLUMNS)), (None,) * COLUMNS)
THRESHOLDS = (-1e300, -1.0, -5e-324, 0.0, 1.0, 1.5, 2.0, 1e300)
VALUES = (
    *THRESHOLDS, -0.0, math.nan, math.inf, -math.inf, 5e-324, 7.0,
    *(math.nextafter(t, way) for t in (1.0, 2.0) for way in (-math.inf, math.inf)),
)  # fmt: skip


def asked(content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda matrix: session.run(None, {"x": matrix})[0]


def graph_of(trees: list[Tree], base: tuple[float, ...], *, single: bool = False) -> bytes:
    graph = Graph()
    sums = tree_graph.write(graph, "x", flat(trees, base), divisor=1.0, sums_single=single)
    return graph.model(sums, ENCODING)


def made(content: bytes) -> Any:
    """(masks, what the graph does to their sums)"""
    found = onnx_trees.take_out(content)
    assert found is not None
    masks = mask_tables.masks(found[0], least=0)
    return masks, (asked(found[1]) if found[1] else lambda sums: sums)


@st.composite
def forests(draw: Any) -> tuple[list[Tree], tuple[float, ...]]:
    """Trees that add to one output each, also lone leaves, with a base."""
    outputs = draw(st.integers(1, 3))
    weights = st.floats(-10, 10)

    def leaves(target: int) -> st.SearchStrategy[Tree]:
        values = weights.map(lambda w: tuple(w if k == target else 0.0 for k in range(outputs)))
        return st.builds(Leaf, st.just(1.0), values)

    def split(child: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        tests = st.sampled_from(THRESHOLDS), child, child, st.booleans()
        columns = st.integers(0, COLUMNS - 1)
        return st.builds(Split, columns, *tests, missing_true=st.booleans())

    def tree(target: int) -> st.SearchStrategy[Tree]:
        return st.recursive(leaves(target), split, max_leaves=12)

    targets = draw(st.lists(st.integers(0, outputs - 1), min_size=1, max_size=6))
    return [draw(tree(target)) for target in targets], draw(st.tuples(*[weights] * outputs))


def forced(tree: Tree) -> Tree:
    """NaN differs from every number, for onnxruntime as for conversions."""
    if isinstance(tree, Leaf):
        return tree
    tests = tree.column, tree.threshold, forced(tree.true), forced(tree.false), tree.differs
    return Split(*tests, missing_true=tree.missing_true or tree.differs)


ROWS = st.lists(
    st.lists(st.sampled_from(VALUES), min_size=COLUMNS, max_size=COLUMNS), min_size=1, max_size=20
)


@settings(deadline=None, max_examples=60)
@given(forest=forests(), rows=ROWS, single=st.booleans())
def test_any_trees_give_what_onnxruntime_gives(
    forest: tuple[list[Tree], tuple[float, ...]], rows: list[list[float]], *, single: bool
) -> None:
    trees, base = forest
    content = graph_of([forced(tree) for tree in trees], base, single=single)
    masks, rest = made(content)
    if masks is None:
        assert all(isinstance(tree, Leaf) for tree in trees)
        return
    matrix = np.array(rows)
    expected = asked(content)(matrix)
    np.testing.assert_array_equal(rest(masks(matrix)), expected)
    alone = np.concatenate([rest(masks(row[None])) for row in matrix])
    np.testing.assert_array_equal(alone, expected)
    if masks.targets == 1:
        numbers = [rest(np.array([[masks.alone(row)]])) for row in matrix]
        np.testing.assert_array_equal(np.concatenate(numbers), expected)


def grown(leaves: int, *, seed: int = 0, outputs: int = 1, target: int = 0) -> Tree:
    rng = np.random.default_rng(seed)
    if leaves == 1:
        return Leaf(1.0, tuple(rng.normal() if k == target else 0.0 for k in range(outputs)))
    left = int(rng.integers(1, leaves))
    children = (
        grown(count, seed=int(rng.integers(2**31)), outputs=outputs, target=target)
        for count in (left, leaves - left)
    )
    return Split(int(rng.integers(COLUMNS)), float(rng.normal()), *children)


@pytest.mark.parametrize("leaves", [2, 8, 9, 16, 17, 32, 33, 63, 64])
@pytest.mark.parametrize("rows", [1, FEW, FEW + 1, 3000])
def test_masks_are_as_wide_as_the_trees(leaves: int, rows: int) -> None:
    trees = [grown(leaves, seed=k) for k in range(30)]
    content = graph_of(trees, (0.5,))
    masks, rest = made(content)
    matrix = np.random.default_rng(1).normal(size=(rows, COLUMNS))
    matrix[np.random.default_rng(2).random(matrix.shape) < 0.1] = np.nan
    np.testing.assert_array_equal(rest(masks(matrix)), asked(content)(matrix))


def test_outputs_with_different_numbers_of_trees() -> None:
    trees = [grown(5, seed=k, outputs=3, target=min(k % 4, 2)) for k in range(21)]
    content = graph_of(trees, (0.5, -1.0, 2.0))
    masks, rest = made(content)
    matrix = np.random.default_rng(1).normal(size=(50, COLUMNS))
    np.testing.assert_array_equal(rest(masks(matrix)), asked(content)(matrix))


def test_trees_without_masks_are_left_to_onnxruntime() -> None:
    several = Split(0, 1.0, Leaf(1.0, (1.0, 0.0)), Leaf(1.0, (0.0, 1.0)))
    wide = [Split(0, float(k), Leaf(1.0, (1.0,)), Leaf(1.0, (2.0,))) for k in range(5000)]
    for trees, base in (([grown(65)], (0.0,)), ([several], (0.0, 0.0)), (wide, (0.0,))):
        assert made(graph_of(trees, base))[0] is None
    assert onnx.with_masks(graph_of([grown(30)], (0.0,))) is None
    graph = Graph()
    linear = graph.model(graph.op("MatMul", "x", np.ones((COLUMNS, 1))), ENCODING)
    assert onnx.with_masks(linear, least=0) is None


@pytest.mark.parametrize("content", [b"", b"\x08", b"not a graph"])
def test_what_is_no_graph_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"unreadable|neither"):
        onnx_trees.take_out(content)


BOOSTED: list[tuple[str, str, dict[str, Any]]] = [
    ("sklearn.ensemble.HistGradientBoostingClassifier", BINARY, {"max_iter": 20}),
    ("sklearn.ensemble.HistGradientBoostingClassifier", MULTI, {"max_iter": 20}),
    ("sklearn.ensemble.HistGradientBoostingRegressor", REGRESSION, {"max_iter": 20}),
    ("sklearn.ensemble.HistGradientBoostingRegressor", REGRESSION, {"loss": "poisson"}),
    ("sklearn.ensemble.GradientBoostingClassifier", MULTI, {"n_estimators": 20}),
    ("sklearn.ensemble.RandomForestClassifier", BINARY, {"max_leaf_nodes": 20}),
    ("sklearn.ensemble.RandomForestRegressor", REGRESSION, {"max_leaf_nodes": 20}),
    ("lightgbm.LGBMClassifier", BINARY, {"n_estimators": 20, "verbose": -1}),
    ("lightgbm.LGBMRegressor", REGRESSION, {"n_estimators": 20, "verbose": -1}),
    ("xgboost.XGBClassifier", BINARY, {"n_estimators": 20}),
    ("xgboost.XGBClassifier", MULTI, {"n_estimators": 20}),
    ("xgboost.XGBRegressor", REGRESSION, {"n_estimators": 20}),
]


SERVED = [
    (*model, calibration)
    for calibration in ("none", "sigmoid", "isotonic")
    for model in BOOSTED
    if calibration == "none" or model[1] != REGRESSION  # numbers are not calibrated
]


@pytest.mark.parametrize(("estimator", "task", "parameters", "calibration"), SERVED)
def test_estimators_are_served_as_their_graph_says(
    estimator: str, task: Any, parameters: dict[str, Any], calibration: str
) -> None:
    rows = make_rows(3, task, rows=300)
    fitted = fit(rows, estimator, task, calibration=calibration, **parameters)
    content = convert(fitted.estimator, schema=rows.schema, rows=rows.table).model
    execute = onnx.with_masks(content, least=0)
    assert execute is not None
    matrix = at_thresholds(onnx_trees.take_out(content), len(rows.schema.names))
    expected = asked(content)(matrix)
    scale = np.maximum(1, np.abs(expected))
    assert float((np.abs(execute(matrix) - expected) / scale).max()) <= 1e-12
    assert float((np.abs(execute(matrix[:1]) - expected[:1]) / scale[:1]).max()) <= 1e-12


def at_thresholds(found: Any, columns: int) -> Any:
    """(500, columns) thresholds of any column, the doubles beside them, and what is no number."""
    rng = np.random.default_rng(0)
    bounds = found[0].threshold
    near = [np.nextafter(bounds, way) for way in (-np.inf, np.inf)]
    pool = np.concatenate([bounds, *near, [np.nan, np.inf, -np.inf, 0.0, -1.0]])
    return rng.choice(pool, size=(500, columns))


def test_links_are_those_of_onnxruntime() -> None:
    sums = np.random.default_rng(0).normal(scale=300, size=(200, 1))
    sums[:4, 0] = -1000, 1000, -709.9, 0

    def assert_same(write: Any, matrix: Any, *, for_one: bool = False) -> None:
        graph = Graph()
        names = tuple("abcd"[: matrix.shape[1]])
        content = graph.model(write(graph), InputEncoding(names, (None,) * len(names)))
        read = onnx_links.read(content)
        assert read is not None
        expected = asked(content)(matrix)
        np.testing.assert_allclose(read.function()(matrix), expected, rtol=0, atol=1e-15)
        one = read.function_of_one()
        assert (one is not None) == for_one
        if one is not None:
            numbers = np.concatenate([one(number) for number in matrix[:, 0]])
            np.testing.assert_array_equal(numbers, read.function()(matrix))

    assert_same(lambda graph: links.two(graph, links.expit(graph, "x")), sums, for_one=True)
    assert_same(lambda graph: links.softmax(graph, "x"), sums.reshape(-1, 4))
    assert_same(lambda graph: graph.op("Exp", graph.op("Div", "x", links.one(1e4))), sums)


def test_other_links_are_left_to_onnxruntime() -> None:
    graph = Graph()
    content = graph.model(links.exp_single(graph, "x"), InputEncoding(("a",), (None,)))
    assert onnx_links.read(content) is None
    graph = Graph()
    content = graph.model(graph.op("Softmax", "x", axis=0), InputEncoding(("a",), (None,)))
    assert onnx_links.read(content) is None
