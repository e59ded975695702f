"""Which runtime executes each estimator: the table of wiki/estimators.md, made anew and compared.

With `ESTIMATORS_WRITE=1` in the environment this module writes the table.
"""

import importlib
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from sklearn.utils import all_estimators

from mlops_assets.modeling.conversion import refusal
from mlops_assets.modeling.pipeline import EstimatorError
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets_tests.training.graphs import BINARY, MULTI, REGRESSION, compared, fit, make_rows

PAGE = Path(__file__).parents[2] / "wiki" / "estimators.md"
HEAD = """# Estimators, and what executes them

`training.runtime: onnx`, the default, turns the fitted pipeline into an ONNX graph with the
preprocessing folded in. `training.runtime: sklearn` stores the pipeline itself, for an endpoint
that has scikit-learn and milliseconds for a row. Neither is a pickle. Estimators without a runtime
here ask for more than a table of columns and one target: another estimator, several targets, or
columns that are positive or independent.

A difference is that between estimator and graph, of a probability or relative to a value, on rows
made to find one: missing values, unseen categories, extreme numbers, and the splits of the model
with their neighbouring numbers. No label differed. XGBoost answers in float32, the others in
float64. Each model is proven anew when it is trained (`serving_matches_training`).

A test makes this table; `ESTIMATORS_WRITE=1 .venv/bin/pytest {test}` writes it again.
"""
TEST = "mlops_assets_tests/modeling/test_estimators.py"
BOOSTERS = [
    ("lightgbm", "LGBMClassifier"), ("lightgbm", "LGBMRegressor"), ("xgboost", "XGBClassifier"),
    ("xgboost", "XGBRFClassifier"), ("xgboost", "XGBRFRegressor"), ("xgboost", "XGBRegressor"),
]  # fmt: skip


def estimators(kind: str) -> list[str]:
    """Import paths of every classifier or regressor."""
    found = [
        f"{each.__module__.split('._')[0]}.{name}"
        for name, each in all_estimators(type_filter=kind)
    ]
    return found + [f"{p}.{n}" for p, n in BOOSTERS if n.lower().endswith(kind)]


def parameters(path: str) -> dict[str, Any]:
    """Few trees and one component, so that the test takes a minute."""
    module, _, name = path.rpartition(".")
    try:
        accepted = getattr(importlib.import_module(module), name)().get_params()
    except TypeError:
        return {}
    few = {"n_estimators": 10, "n_jobs": 1}
    if "cross_decomposition" in path:
        few["n_components"] = 1
    found = {name: value for name, value in few.items() if name in accepted}
    return {**found, "verbose": -1, "min_child_samples": 5} if "lightgbm" in path else found


def line(path: str, tasks: tuple[str, ...]) -> str:
    name = path.rpartition(".")[2]
    converts = any(name in names for names in refusal.CONVERTIBLE.values())
    worst = 0.0
    for task in tasks:
        rows = make_rows(1, task, rows=120)
        try:
            fitted = _fitted(rows, path, task)
        except (EstimatorError, ValueError, TypeError, AttributeError, NotImplementedError):
            return f"| `{path}` | — | |"
        if converts:
            difference, flips, _ = compared(rows, fitted, task)
            assert flips == 0, path
            worst = max(worst, difference)
    if converts:
        bound = 1e-6 if path.startswith("xgboost") else 1e-12
        assert worst <= bound, path
        return f"| `{path}` | onnx | ≤ {bound:.0e} |"
    return f"| `{path}` | {'sklearn' if _storable(fitted) else '—'} | |"


def _fitted(rows: Any, path: str, task: str) -> Any:
    try:
        return fit(rows, path, task, **parameters(path))
    except Exception as error:
        if task == REGRESSION or "no probabilities" not in str(error):
            raise
    return fit(rows, path, task, calibration="sigmoid", **parameters(path))


def _storable(fitted: Any) -> bool:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        try:
            runtime.save(fitted.estimator, Path(folder) / "model.skops")
        except BundleError:
            return False
    return True


@pytest.mark.pipeline
def test_the_page_says_what_executes_each_estimator() -> None:
    lines = [HEAD.format(test=TEST)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for title, kind, tasks in (
            ("Classifiers", "classifier", (BINARY, MULTI)),
            ("Regressors", "regressor", (REGRESSION,)),
        ):
            lines += [f"## {title}\n", "| estimator | runtime | difference |", "|---|---|---|"]
            lines += [line(path, tasks) for path in estimators(kind)] + [""]
    page = "\n".join(lines).rstrip() + "\n"
    if os.environ.get("ESTIMATORS_WRITE"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page


def test_every_name_that_converts_exists() -> None:
    known = {path.rpartition(".")[2] for kind in ("classifier", "regressor")
             for path in estimators(kind)}  # fmt: skip
    named = {name for names in refusal.CONVERTIBLE.values() for name in names}
    assert named <= known
