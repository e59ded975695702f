"""An ONNX graph under construction: float64 throughout, one input `x`, one output `y`."""

import json
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.encoding import ENCODING, INPUT, OUTPUT, InputEncoding

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

TREES = "ai.onnx.ml"
OPSETS = {"": 21, TREES: 5}
"""TreeEnsemble in float64 came with opset 5 of ai.onnx.ml."""
IR_VERSION = 10


class Graph:
    """Nodes in the order they are added; values are known by name."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def op(self, kind: str, *inputs: "str | Array", domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name; arrays become constants."""
        from onnx import helper

        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(kind, names, [name], name=name, domain=domain, **attributes)
        )
        return name

    def cast(self, value: str, kind: str) -> str:
        """`kind`: FLOAT, DOUBLE or INT64."""
        from onnx import TensorProto

        return self.op("Cast", value, to=getattr(TensorProto, kind))

    def columns(self, value: str, picked: list[int]) -> str:
        """These columns of a (n, m) value."""
        import numpy as np

        return self.op("Gather", value, np.array(picked, dtype=np.int64), axis=1)

    def model(self, output: str, encoding: InputEncoding) -> bytes:
        """The model that computes `output`; what it does not need is left out."""
        import onnx
        from onnx import TensorProto, helper

        needed, kept = {output}, []
        for node in reversed(self._nodes):
            if node.output[0] in needed:
                needed.update(node.input)
                kept.append(node)
        # The node of the output is the last one that is kept: nothing else reads it.
        kept[0].output[0] = OUTPUT
        graph = helper.make_graph(
            kept[::-1],
            "model",
            [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, ["n", len(encoding.names)])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.DOUBLE, ["n", None])],
            [constant for name, constant in self._constants.items() if name in needed],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*each) for each in OPSETS.items()],
            ir_version=IR_VERSION,
            producer_name="mlops_assets",
        )
        helper.set_model_props(model, {ENCODING: json.dumps(encoding.to_json())})
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def _constant(self, array: "Array") -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(array, name)
        return name
