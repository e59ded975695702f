"""How long explanations take: `python bench/explain.py --trees 200 --leaves 31`.

Explains 1 and 100 rows by a made-up ensemble whose trees grow leaf by leaf, as LightGBM's do, on
one thread. Prints the best and the median time.
"""

import argparse
import statistics
import time

import numpy as np

from mlops_assets.serving.ensemble import TreeEnsemble
from mlops_assets.serving.explain import Explainer


def made_up(trees: int, leaves: int, columns: int, rng: np.random.Generator) -> TreeEnsemble:
    """An ensemble of one output over 7000 rows; larger leaves are split sooner."""
    size = 2 * leaves - 1
    feature = np.full((trees, size), -1, np.int32)
    true, false = feature.copy(), feature.copy()
    cover, value = np.zeros((trees, size)), rng.normal(size=(trees, size))
    for tree in range(trees):
        cover[tree, 0] = 7000
        for new in range(1, size, 2):
            open_ = np.flatnonzero(feature[tree, :new] < 0)
            node = open_[np.argmax(cover[tree, open_] * rng.random(len(open_)))]
            feature[tree, node] = rng.integers(columns)
            true[tree, node], false[tree, node] = tree * size + new, tree * size + new + 1
            share = rng.uniform(0.1, 0.9)
            cover[tree, new : new + 2] = cover[tree, node] * np.array([share, 1 - share])
    leaf = feature < 0
    return TreeEnsemble(
        feature=feature.ravel(),
        threshold=np.where(leaf, 0, rng.normal(size=leaf.shape)).ravel(),
        differs=np.zeros(leaf.size, bool),
        missing_true=np.zeros(leaf.size, bool),
        true=true.ravel(),
        false=false.ravel(),
        cover=cover.ravel(),
        value=np.where(leaf, value, 0).reshape(-1, 1),
        roots=np.arange(0, trees * size, size, dtype=np.int32),
        base=np.zeros(1),
        scale="log_odds",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=20)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    model = made_up(asked.trees, asked.leaves, asked.columns, rng)
    names = tuple(f"column {number}" for number in range(asked.columns))
    started = time.perf_counter()
    explainer = Explainer.of(model, names, outputs=1)
    print(f"prepared in {1000 * (time.perf_counter() - started):.1f} ms")
    for rows in (1, 100):
        matrix = rng.normal(size=(rows, asked.columns))
        wall, cpu = [], []
        for _ in range(asked.repeat):
            started, busy = time.perf_counter(), time.process_time()
            explainer.explain(matrix).to_json()
            wall.append(1000 * (time.perf_counter() - started))
            cpu.append(1000 * (time.process_time() - busy))
        print(
            f"{rows:>4} rows: {min(wall):.2f} ms, median {statistics.median(wall):.2f} ms; "
            f"CPU {min(cpu):.2f} ms, median {statistics.median(cpu):.2f} ms"
        )


if __name__ == "__main__":
    main()
