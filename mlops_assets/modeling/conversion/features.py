"""What the fitted preprocessing makes of the schema's columns, feature by feature."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion.refusal import ConversionError
from mlops_assets.serving.encoding import Categories, InputEncoding
from mlops_assets.serving.schema import InputSchema

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_NAN = float("nan")


@dataclass(frozen=True)
class Feature:
    """One feature that the estimator sees; the fields are those of `LinearModel`."""

    column: int
    reads: str = "value"
    code: float = 0.0
    fill: float = _NAN
    shift: float = 0.0
    scaled: float = 1.0

    @property
    def constants(self) -> tuple[float, float]:
        """For `equals` and `missing`: the feature where its condition fails, and where it holds."""
        return (0.0 - self.shift) / self.scaled, (1.0 - self.shift) / self.scaled


def read(transformer: Any, schema: InputSchema) -> tuple[list[Feature], InputEncoding]:
    """The features of a fitted ColumnTransformer over a frame of the schema's columns, and how
    a request's values become the matrix that they read.

    Raises:
        ConversionError: a step is not one that `modeling.pipeline` builds.
    """
    position = {name: index for index, name in enumerate(schema.names)}
    types = {column.name: column.type for column in schema.columns}
    known: dict[str, Categories] = {}
    features: list[Feature] = []
    for _, step, names in transformer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        columns = [Feature(position[name]) for name in names]
        if type(step).__name__ in ("OneHotEncoder", "OrdinalEncoder"):
            if numbers := [name for name in names if types[name] != "categorical"]:
                raise ConversionError(f"column {numbers[0]} is encoded, yet not categorical")
            categories = [_categories(step, index) for index in range(len(names))]
            known |= dict(zip(names, categories, strict=True))
            columns = _encoded(step, columns, categories)
        else:
            for each in getattr(step, "steps", [("", step)]):
                columns = _numeric(each[1], columns)
        features += columns
    unread = Categories({}, _NAN, _NAN)
    encoding = InputEncoding(
        schema.names,
        tuple(
            known.get(column.name, unread) if column.type == "categorical" else None
            for column in schema.columns
        ),
    )
    return features, encoding


def _categories(encoder: Any, index: int) -> Categories:
    """Ordinal codes are the encoder's output; one-hot codes the position of the category. None
    is a category where training met it."""
    values = list(encoder.categories_[index])
    codes = {str(value): float(code) for code, value in enumerate(values) if value is not None}
    unknown = -1.0 if type(encoder).__name__ == "OneHotEncoder" else float(encoder.unknown_value)
    missing = float(values.index(None)) if None in values else unknown
    return Categories(codes, missing, unknown)


def _encoded(encoder: Any, columns: list[Feature], categories: list[Categories]) -> list[Feature]:
    if type(encoder).__name__ == "OrdinalEncoder":
        if encoder.handle_unknown != "use_encoded_value":
            raise ConversionError("OrdinalEncoder does not say how unknown values are encoded")
        return columns
    if encoder.handle_unknown != "ignore" or encoder.drop is not None:
        raise ConversionError("OneHotEncoder has other options than modeling.pipeline gives it")
    return [
        replace(column, reads="equals", code=float(code))
        for column, values in zip(columns, encoder.categories_, strict=True)
        for code in range(len(values))
    ]


def _numeric(step: Any, columns: list[Feature]) -> list[Feature]:
    import numpy as np

    kind = type(step).__name__
    if step == "passthrough" or (kind == "FunctionTransformer" and step.func is None):
        return columns
    if kind == "SimpleImputer":
        if any(column.scaled != 1.0 or column.shift != 0.0 for column in columns):
            raise ConversionError("columns are scaled before they are imputed")
        filled = [
            replace(column, fill=float(value))
            for column, value in zip(columns, step.statistics_, strict=True)
            if step.keep_empty_features or not np.isnan(value)
        ]
        marked = [] if step.indicator_ is None else step.indicator_.features_
        return filled + [replace(columns[index], reads="missing") for index in marked]
    if kind == "StandardScaler":
        shifts = np.zeros(len(columns)) if step.mean_ is None else step.mean_
        scales = np.ones(len(columns)) if step.scale_ is None else step.scale_
        return [
            replace(column, shift=float(shift), scaled=float(scale))
            for column, shift, scale in zip(columns, shifts, scales, strict=True)
        ]
    raise ConversionError(f"{kind} is no preprocessing that modeling.pipeline builds")


def arrays(features: list[Feature]) -> dict[str, "Array"]:
    """The features as the arrays of `LinearModel`."""
    import numpy as np

    return {
        "column": np.array([f.column for f in features], dtype=np.int32),
        "reads": np.array([f.reads for f in features], dtype=str),
        **{
            name: np.array([getattr(f, name) for f in features], dtype=np.float64)
            for name in ("code", "fill", "shift", "scaled")
        },
    }
