"""Small real things for tests: a trained pipeline in a sealed bundle."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlops_assets.experiment import loader
from mlops_assets.experiment.model import Experiment
from mlops_assets.modeling.conversion.convert import convert
from mlops_assets.serving import bundle, ensemble
from mlops_assets.serving.bundle import Golden, Manifest, Task
from mlops_assets.serving.encoding import INPUT, OUTPUT
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.training.export import MODEL_FILES

CONFIGS = Path(__file__).parent.parent / "configs"
SCHEMA = InputSchema(
    (
        Column("tenure", "numeric", integer=True, minimum=0.0, maximum=72.0),
        Column("charges", "numeric", nullable=True, minimum=18.0, maximum=120.0),
        Column("senior", "boolean"),
        Column("contract", "categorical", categories=("monthly", "one year", "two years")),
    )
)
CLASSES: dict[str, tuple[Any, ...]] = {
    "binary_classification": ("No", "Yes"),
    "multiclass_classification": ("high", "low", "middle"),
    "regression": (),
}


@dataclass(frozen=True)
class Built:
    """A sealed bundle with what it was made from."""

    folder: Path
    digest: str
    manifest: Manifest
    estimator: Any
    columns: dict[str, list[Any]]
    """Requests, in the form a parsed body has."""

    def records(self, rows: int) -> list[dict[str, Any]]:
        return [{n: values[i] for n, values in self.columns.items()} for i in range(rows)]

    def expected(self, rows: int) -> np.ndarray:
        """What the estimator itself says: probabilities, or values for regression."""
        head = {name: values[:rows] for name, values in self.columns.items()}
        table = runtime.frame(SCHEMA, head)
        if self.manifest.task == "regression":
            return self.estimator.predict(table)
        return self.estimator.predict_proba(table)


def make_columns(rows: int, *, seed: int) -> dict[str, list[Any]]:
    """Rows that fit SCHEMA, with missing values in `charges` and `contract`."""
    rng = np.random.default_rng(seed)
    charges = np.round(rng.uniform(18, 120, rows), 2)
    return {
        "tenure": [float(v) for v in rng.integers(0, 73, rows)],
        "charges": [None if rng.random() < 0.1 else float(v) for v in charges],
        "senior": [bool(v) for v in rng.random(rows) < 0.2],
        "contract": [
            None if rng.random() < 0.05 else str(v)
            for v in rng.choice(["monthly", "one year", "two years"], rows)
        ],
    }


def make_bundle(
    folder: Path,
    *,
    task: Task = "binary_classification",
    seed: int = 0,
    threshold: float | None = 0.4,
    model: str = "churn",
    rows: int = 400,
    executed_by: Literal["onnx", "sklearn"] = "onnx",
) -> Built:
    """Train a small pipeline on made-up rows and seal it into `folder`, which is created.

    Another seed gives a model with other answers. `threshold` is for binary classification.
    """
    folder.mkdir(parents=True)
    columns = make_columns(rows, seed=seed)
    table = runtime.frame(SCHEMA, columns)
    score = table["tenure"] / 72 + table["senior"] + np.random.default_rng(seed).random(rows)
    classes = CLASSES[task]
    estimator = _pipeline(task, seed)
    if task == "regression":
        estimator.fit(table, score * 100)
    else:
        labels = pd.qcut(score, len(classes), labels=False)
        estimator.fit(table, labels)
    name = MODEL_FILES[executed_by]
    if executed_by == "onnx":
        converted = convert(estimator, schema=SCHEMA, rows=table)
        (folder / name).write_bytes(converted.model)
        if converted.explained is not None:
            ensemble.save(converted.explained, folder)
    else:
        runtime.save(estimator, folder / name)
    manifest = Manifest(
        model=model,
        run_id=f"run{seed}",
        task=task,
        runtime=executed_by,
        model_file=name,
        schema=SCHEMA,
        classes=classes,
        threshold=threshold if task == "binary_classification" else None,
        data_digest="0" * 64,
        code_version="test",
        created_at="2026-01-01T00:00:00+00:00",
        files={},
    )
    built = Built(folder, "", manifest, estimator, columns)
    bundle.write_golden(folder, _golden(built))
    sealed = bundle.seal(folder, manifest)
    return Built(folder, bundle.digest(folder), sealed, estimator, columns)


CHARGES_OF_FAILURE = -1_000.0


def fails_below(built: Built) -> Built:
    """The same on ONNX, except that scoring fails, which is the program's fault and not the
    caller's, where any of the `charges` are below CHARGES_OF_FAILURE."""
    from onnx import TensorProto
    from onnx.helper import make_node as named

    constants = {
        "column": np.array([SCHEMA.names.index("charges")]),
        "nought": np.zeros(1),
        "bound": np.array(CHARGES_OF_FAILURE),
    }
    nodes = [
        named("Gather", [INPUT, "column"], ["charged"], axis=1),
        named("Less", ["charged", "bound"], ["low"]),
        named("Cast", ["low"], ["index"], to=TensorProto.INT64),
        named("Gather", ["nought", "index"], ["nothing"]),  # there is no second element
    ]
    return _adds_nothing(built, constants, nodes)


def takes_long(built: Built) -> Built:
    """The same on ONNX, except that each answer takes a processor 100 ms and more: it multiplies
    matrices of noughts, known to be so only while it answers."""
    from onnx import TensorProto
    from onnx.helper import make_node as named

    size, products = 1000, 4
    constants = {
        "sides": np.array([size, size]),
        "first": np.array([0]),
        "nothing_yet": np.zeros(1),
    }
    nodes = [
        named("Shape", [INPUT], ["shape"]),
        named("Gather", ["shape", "first"], ["rows"]),
        named("Cast", ["rows"], ["number"], to=TensorProto.DOUBLE),
        named("Mul", ["number", "nothing_yet"], ["nought"]),
        named("Expand", ["nought", "sides"], ["product_0"]),
        *(
            named("MatMul", [f"product_{i}", f"product_{i}"], [f"product_{i + 1}"])
            for i in range(products)
        ),
        named("ReduceSum", [f"product_{products}"], ["nothing"], keepdims=0),
    ]
    return _adds_nothing(built, constants, nodes)


def _adds_nothing(built: Built, constants: dict[str, np.ndarray], nodes: list[Any]) -> Built:
    """The value `nothing` of `nodes`, added to the output of `built` on ONNX, sealed anew."""
    import onnx
    from onnx import numpy_helper

    path = built.folder / built.manifest.model_file
    model = onnx.load(path)
    graph = model.graph
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    last = next(node for node in graph.node if OUTPUT in node.output)
    last.output[:] = ["good" if each == OUTPUT else each for each in last.output]
    graph.node.extend([*nodes, onnx.helper.make_node("Add", ["good", "nothing"], [OUTPUT])])
    onnx.save(model, path)
    sealed = bundle.seal(built.folder, replace(built.manifest, files={}))
    return replace(built, digest=bundle.digest(built.folder), manifest=sealed)


def _pipeline(task: Task, seed: int) -> Pipeline:
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = ["tenure", "charges", "senior"]
    if task == "binary_classification":
        numeric: Any = make_pipeline(SimpleImputer(), StandardScaler())
        last: Any = LogisticRegression(C=1.0 + seed)
    elif task == "multiclass_classification":
        numeric, last = "passthrough", HistGradientBoostingClassifier(max_iter=5, random_state=seed)
    else:
        numeric, last = "passthrough", HistGradientBoostingRegressor(max_iter=5, random_state=seed)
    steps = [("numbers", numeric, numbers), ("categories", categories, ["contract"])]
    return Pipeline([("columns", ColumnTransformer(steps)), ("estimator", last)])


def _golden(built: Built) -> Golden:
    rows = 5
    answers = built.expected(rows).tolist()
    task, classes, threshold = built.manifest.task, built.manifest.classes, built.manifest.threshold
    if task == "regression":
        return Golden(tuple(built.records(rows)), tuple(answers), ())
    if threshold is not None:
        labels = [classes[-1] if row[-1] >= threshold else classes[0] for row in answers]
    else:
        labels = [classes[int(np.argmax(row))] for row in answers]
    return Golden(tuple(built.records(rows)), tuple(labels), tuple(tuple(row) for row in answers))


def shipped_twice() -> list[Experiment]:
    """The shipped experiments, and each once more under another name."""
    found = loader.load_all(CONFIGS)
    return [*found, *(one.model_copy(update={"name": f"{one.name}_2"}) for one in found)]


def make_experiment(**changes: Any) -> Experiment:
    """A binary experiment over a CSV, with one local endpoint; named keys replace the header's or
    whole sections."""
    usual = {
        "name": "churn",
        "description": "Which customers leave within the next month.",
        "owner": "team:growth",
        "task": "binary_classification",
        "features": {"source": {"kind": "csv", "path": "churn.csv"}, "target": "churned"},
        "training": {"estimator": "sklearn.linear_model.LogisticRegression"},
        "deployment": {"targets": [{"kind": "local"}]},
    }
    return Experiment.model_validate({**usual, **changes})
