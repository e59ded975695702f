"""Shapley values of trees, exact and for many rows at once; NumPy alone.

Path-dependent TreeSHAP (Lundberg et al. 2020, "From local explanations to global understanding
with explainable AI for trees"): where a column is unknown, a row follows both branches in
proportion to their covers. To a leaf of value v whose path tests d columns, a set S of known
columns is worth v * prod(o_i, i in S) * prod(z_i, i not in S): o_i is 1 where the row passes all
tests of column i on the path and else 0, z_i is the product of the shares of cover behind them.
The Shapley weight k! (d-1-k)! / d! is the integral of t^k (1-t)^(d-1-k) over [0, 1], hence

    phi_i = v (o_i - z_i) * integral of prod(t o_j + (1-t) z_j, j != i) dt,

a polynomial of degree d-1, which ceil(d/2) Gauss-Legendre points integrate exactly. As in Linear
TreeSHAP (Yu et al. 2022) the products are carried down the trees and the sums of the leaves up, so
that a row costs nodes * points. Factors lie in [0, 1] and weights are positive: depth does not cost
precision.
"""

import functools
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.groves import Grove

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CHUNK = 250_000
"""Numbers in each of the few arrays of intermediate results: what a processor's cache can hold."""


def contributions(grove: Grove, matrix: "Array") -> "Array":
    """(tested, n, k): what its columns add to its outputs for the (n, columns) rows."""
    import numpy as np

    ratio, slope = _tables(grove)
    nodes, points = len(grove.share), ratio.shape[1]
    result = np.empty((len(grove.columns), len(matrix), len(grove.outputs)))
    rows = max(1, min(len(matrix), CHUNK // (points * nodes)))
    # Asked for once, as fresh pages cost as much as the arithmetic; "clip" writes there directly.
    room = np.empty((3, nodes * rows * points))
    for start in range(0, len(matrix), rows):
        states = _states(grove, matrix[start : start + rows].T)
        product, below, weight = room[:, : states.size * points].reshape(3, *states.shape, points)
        ratio.take(states, axis=0, out=product, mode="clip")
        slope.take(states, axis=0, out=weight, mode="clip")
        for inner, true, false in grove.levels:
            above = product.take(inner, axis=0)
            product[true] *= above
            product[false] *= above
        for output, value in enumerate(grove.value):
            np.multiply(product, value[:, None, None], out=below)
            for inner, true, false in reversed(grove.levels):
                below[inner] = below[true] + below[false]
            effect = np.einsum("inp,inp->in", below, weight).take(grove.by_column, axis=0)
            result[:, start : start + rows, output] = np.add.reduceat(effect, grove.starts)
    return result


@functools.lru_cache(maxsize=8)
def _tables(grove: Grove) -> tuple["Array", "Array"]:
    """What a node multiplies the product above it by, and its part of the slope of its column.

    Both are (3 * nodes, points): for rows that pass all tests of its column down to the node; that
    fail at the node; that failed above. With u = 1 / (t + (1-t) z) the slope of a column, that is
    (o - z) / (t o + (1-t) z), is (u - 1) / (1-t) where o = 1 and -1 / (1-t) where o = 0; the slope
    that the previous node of the column gave is taken back.
    """
    import numpy as np

    knots, weights = np.polynomial.legendre.leggauss(max(1, (grove.longest + 1) // 2))
    t = (knots + 1) / 2
    z, weight = grove.shares[:, None], weights / 2 / (1 - t)
    u = 1 / (t + (1 - t) * z)
    before = u.take(grove.previous, axis=0)
    ratio = before / u, (1 - t) * z * before, np.broadcast_to(grove.share[:, None], u.shape)
    slope = weight * (u - before), -weight * before, np.zeros(u.shape)
    return np.concatenate(ratio), np.concatenate(slope)


def _states(grove: Grove, columns: "Array") -> "Array":
    """(nodes, n) where in the tables a row stands at each node, from the (columns, n) values."""
    import numpy as np

    asked = columns.take(grove.feature, axis=0)
    threshold, missing_true = grove.threshold[:, None], grove.missing_true[:, None]
    passed = np.where(grove.differs[:, None], asked != threshold, asked <= threshold)
    passed = np.where(np.isnan(asked), missing_true, passed)
    nodes = len(grove.share)
    passes = np.ones((nodes, columns.shape[1]), dtype=bool)
    start = 0
    for inner, true, false in grove.levels:
        tests = passed[start : start + len(inner)]
        np.logical_and(passes.take(grove.previous[true], axis=0), tests, out=passes[true])
        np.logical_and(passes.take(grove.previous[false], axis=0), ~tests, out=passes[false])
        start += len(inner)
    failed = 2 - passes.take(grove.previous, axis=0).astype(np.intp) - passes
    return failed * nodes + np.arange(nodes)[:, None]
