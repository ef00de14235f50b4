"""An ONNX graph under construction: nodes, constants, and the levels of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
_TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int32": TensorProto.INT32}
_QONNX = "qonnx.custom_op.general"


class Graph:
    """Nodes in order, whose outputs have the names of the modules that they come from.

    x, scores: names and types of input and output, and the shape of a sample. qonnx: write levels as `Quant` of QONNX.
    """

    def __init__(self, name: str, x: tuple[str, str, Sequence[int]], scores: tuple[str, str], *, qonnx: bool = False) -> None:
        self.name, self.qonnx = name, qonnx
        source, kind, shape = x
        self.dimensions = 1 + len(shape)
        batch = 1 if qonnx else "batch"  # qonnx's tools know no size that is open
        self._input = helper.make_tensor_value_info(source, _TYPES[kind], [batch, *shape])
        self._output = helper.make_tensor_value_info(scores[0], _TYPES[scores[1]], [batch, None])
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """Add a constant once, and return its name."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def node(self, name: str, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node whose one output is called `name`, and return that name."""
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def levels(self, name: str, x: str, steps: int) -> str:
        """Round x to the steps + 1 levels in [0, 1]; the levels themselves are the tensor `name`.levels, uint8, in form "qdq"."""
        zero, whole = self.constant("zero", np.float32(0)), self.constant("whole", np.float32(1))
        clipped = self.node(f"{name}.clipped", "Clip", x, zero, whole)
        scale = self.constant(f"step_of_{steps}", np.float32(1 / steps))
        if self.qonnx:
            bits = self.constant(f"bits_of_{steps}", np.float32(steps.bit_length()))
            how = {"signed": 0, "narrow": 0, "rounding_mode": "ROUND"}
            return self.node(f"{name}.values", "Quant", clipped, scale, zero, bits, domain=_QONNX, **how)
        silent, one = self.constant("silent", np.uint8(0)), whole
        levels = self.node(f"{name}.levels", "QuantizeLinear", clipped, scale, silent)
        numbers = self.node(f"{name}.numbers", "DequantizeLinear", levels, one, silent)
        return self.node(f"{name}.values", "Mul", numbers, scale)

    def finish(self, scores: str) -> None:
        """Make a tensor the graph's output."""
        self.node(self._output.name, "Identity", scores)

    def serialized(self) -> bytes:
        """The checked model as the bytes of a file."""
        graph = helper.make_graph(self._nodes, self.name, [self._input], [self._output], [*self._constants.values()])
        domains = [helper.make_opsetid("", OPSET), *([helper.make_opsetid(_QONNX, 1)] if self.qonnx else [])]
        model = helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION, producer_name="firstspike")
        onnx.checker.check_model(model, full_check=not self.qonnx)
        raw: bytes = model.SerializeToString()
        return raw
