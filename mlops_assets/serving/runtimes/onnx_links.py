"""What a model does to the sum of its trees, as calls of NumPy: a link, a mean, a calibration.

One row is asked for most of the time, and to start onnxruntime for a few sums costs more than the
trees. What differs from its answers is the last bit of an exponential.
"""

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.serving.encoding import INPUT, OUTPUT
from mlops_assets.serving.runtimes import onnx_file as file

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Step(NamedTuple):
    """A node of the graph."""

    kind: str
    read: list[bytes]
    written: bytes


class Links(NamedTuple):
    """Nodes of a graph in their order, and the constants they read."""

    steps: list[Step]
    constants: dict[bytes, "Array"]

    def function(self) -> "Callable[[Array], Array]":
        """(n, targets) sums to what the model answers."""
        return _chained(self.steps, self.constants, _kinds())

    def function_of_one(self) -> "Callable[[float], Array] | None":
        """The sum of one row to the (1, outputs) answer, in a quarter of the time; None where
        numbers do not do for arrays. Raises ArithmeticError where arrays get no finite number."""
        single = {name: a.item() for name, a in self.constants.items() if a.size == 1}
        *inner, last = [step.kind for step in self.steps]
        if len(single) < len(self.constants) or last != "Concat" or "Concat" in inner:
            return None
        kinds = _kinds_of_numbers()
        return _chained(self.steps, single, kinds) if kinds.keys() >= {*inner} else None


def read(content: bytes) -> Links | None:
    """What the model does with its input; None where it does something that is not known here.

    Raises:
        ValueError, LookupError: the file is no model.
    """
    graph = file.fields(file.values(file.fields(content), file.GRAPH)[0])
    known = dict(map(file.tensor, file.values(graph, file.INITIALIZER)))
    constants = {name: array for name, array in known.items() if array is not None}
    named = {INPUT.encode(), *constants}
    kinds, steps = _kinds(), []
    for node in map(file.fields, file.values(graph, file.NODE)):
        kind = file.values(node, file.KIND)[0].decode()
        read, (written,) = file.values(node, file.READ), file.values(node, file.WRITTEN)
        attributes = [file.attribute(each) for each in file.values(node, file.ATTRIBUTE)]
        by_row = all(name == "axis" and numbers.tolist() == [1] for name, numbers in attributes)
        if kind not in kinds or not by_row or not named.issuperset(read):
            return None
        named.add(written)
        steps.append(Step(kind, read, written))
    return Links(steps, constants)


def _chained(
    steps: list[Step], constants: dict[bytes, Any], kinds: dict[str, Callable[..., Any]]
) -> Callable[[Any], Any]:
    asked, answered = INPUT.encode(), OUTPUT.encode()
    chain = [(kinds[step.kind], step.read, step.written) for step in steps]

    def run(sums: Any) -> Any:
        values = {**constants, asked: sums}
        for function, read, written in chain:
            values[written] = function(*[values[name] for name in read])
        return values[answered]

    return run


def _kinds_of_numbers() -> dict[str, Callable[..., Any]]:
    import numpy as np

    return {
        "Add": operator.add,
        "Sub": operator.sub,
        "Mul": operator.mul,
        "Div": operator.truediv,
        "Exp": math.exp,
        "Sigmoid": _sigmoid_of_one,
        "Concat": lambda *parts: np.array([parts]),
    }


def _sigmoid_of_one(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(x, -700.0)))


def _kinds() -> dict[str, Callable[..., Any]]:
    import numpy as np

    return {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.divide,
        "Exp": _exponential,
        "Sigmoid": _sigmoid,
        "Softmax": _softmax,
        "Concat": lambda *parts: np.concatenate(parts, axis=1),
    }


def _exponential(x: "Array") -> "Array":
    import numpy as np

    with np.errstate(over="ignore"):  # a value that is not finite is refused later
        return np.exp(x)


def _sigmoid(x: "Array") -> "Array":
    """Of less than -700 it is zero to 300 places, and the exponential of that fits no double."""
    import numpy as np

    return 1.0 / (1.0 + np.exp(-np.maximum(x, -700.0)))


def _softmax(x: "Array") -> "Array":
    import numpy as np

    terms: Array = np.exp(x - x.max(axis=1, keepdims=True))
    terms /= terms.sum(axis=1, keepdims=True)
    return terms
