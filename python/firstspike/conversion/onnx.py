"""ONNX files as nets of torch: float nets, nets with QuantizeLinear and DequantizeLinear, and QONNX.

Only the operators that `convert` can use are read, each as the module of torch that it takes. Constants are folded, so that a
quantised weight is the weight that acts.
"""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from .. import nn as fs
from .._base import checks
from .._base.files import read_bytes
from .levels import Levels
from .remedies import remedy

_LARGEST_FILE, _MOST_NODES = 1 << 31, 1 << 16
_QONNX = "qonnx.custom_op.general"
_LARGEST_CONSTANT = 1 << 20
#: What is computed of constants alone; of these none makes more numbers than it gets but ConstantOfShape.
_FOLDED = (
    "Cast", "Clip", "Concat", "ConstantOfShape", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose",
    "Unsqueeze",
)  # fmt: skip


def read(path: str | os.PathLike[str]) -> fx.GraphModule:
    """Return the net of an ONNX file as a module of torch, with `Levels` for its activation quantisers.

    A layer's `weight_scale` is the value of an integer weight of 1, where the file has one. Weights in another file of the same
    folder are read.
    `meta["dimensions"]` is the number of dimensions of the input, 0 where the file does not say.
    Raises ValueError that names the file, and the node that cannot be read.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("ONNX files need the extra onnx: python -m pip install 'firstspike[onnx]'") from error
    path = checks.path("module", path)
    raw = read_bytes(path, limit=_LARGEST_FILE)
    try:
        model = onnx.load_model_from_string(raw)
        if len(model.graph.node) > _MOST_NODES:
            raise ValueError(f"it has {len(model.graph.node)} nodes, at most {_MOST_NODES} are read")
        for tensor in model.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                _load_beside(tensor, path)
        return _Reader(model).read()
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as a net: {error}") from error
    except Exception as error:  # protobuf's DecodeError has no public base
        raise ValueError(f"{path} is not an ONNX file, or is damaged: {error}") from error


class _Quantized(NamedTuple):
    """A tensor of integers from low to high, whose source is `scale` times the distance from zero."""

    source: str
    scale: NDArray[np.float32]
    zero: NDArray[Any]
    low: int
    high: int


class _Reader:
    """Reads a graph node by node into `fx`; names are of tensors."""

    def __init__(self, model: Any) -> None:
        self.source, self.opsets = model.graph, model.opset_import
        self.constants: dict[str, NDArray[Any]] = {tensor.name: _numbers(tensor) for tensor in self.source.initializer}
        self.uses = Counter(name for node in self.source.node for name in node.input)
        self.scales: dict[str, NDArray[np.float32]] = {}  # of integer weights
        self.graph, self.root = fx.Graph(), nn.Module()
        self.values: dict[str, fx.Node] = {}
        self.dimensions = 0  # of the input; 0 where the file does not say
        self.quantized: dict[str, _Quantized] = {}  # outputs of QuantizeLinear

    def read(self) -> fx.GraphModule:
        """The module."""
        inputs = [value for value in self.source.input if value.name not in self.constants]
        if len(inputs) != 1 or len(self.source.output) != 1:
            raise ValueError(f"it must have one input and one output, got {len(inputs)} and {len(self.source.output)}")
        self.values[inputs[0].name] = self.graph.placeholder("x")
        self.dimensions = len(inputs[0].type.tensor_type.shape.dim)
        for number, node in enumerate(self.source.node):
            try:
                self._node(f"n{number}_{node.op_type}", node)
            except (KeyError, IndexError, AttributeError, TypeError) as error:
                raise ValueError(f"node {node.name or number} ({node.op_type}) lacks an input or attribute: {error}") from error
        self.graph.output(self.values[self.source.output[0].name])
        module = fx.GraphModule(self.root, self.graph).eval()
        module.meta["dimensions"] = self.dimensions
        return module

    def _node(self, name: str, node: Any) -> None:
        where = f"node {node.name or name} ({node.op_type})"
        attributes = {a.name: self._attribute(a) for a in node.attribute}
        inputs = [self.constants.get(tensor) for tensor in node.input]
        if node.op_type == "Constant":
            value = attributes.get(
                "value", attributes.get("value_float", attributes.get("value_int", attributes.get("value_ints")))
            )
            self.constants[node.output[0]] = np.asarray(value)
            return
        if node.op_type in ("Quant", "DequantizeLinear", "QuantizeLinear") and inputs[0] is not None:
            self._fold_weight(node, inputs, attributes)
            return
        if node.op_type in _FOLDED and all(
            value is not None or not tensor for value, tensor in zip(inputs, node.input, strict=True)
        ):
            self._fold(node, inputs, where)
            return
        handler = _HANDLERS.get(node.op_type)
        if handler is None:
            raise ValueError(f"{where} is of a kind that nets of windows lack; {remedy(node.op_type, _taken())}")
        module = handler(self, node, inputs, attributes, where)
        if module is None:
            return
        self._call(name, node, module)

    def _call(self, name: str, node: Any, module: nn.Module | Callable[..., Any]) -> None:
        """Add a module, or a function of all inputs, as the node of the output."""
        signals = [self.values[tensor] for tensor in node.input if tensor in self.values]
        if isinstance(module, nn.Module):
            self.root.add_module(name, module)
            self.values[node.output[0]] = self.graph.call_module(name, (signals[0],))
        else:
            self.values[node.output[0]] = self.graph.call_function(module, tuple(signals))

    def _attribute(self, attribute: Any) -> Any:
        import onnx

        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            return _numbers(value)
        return value.decode() if isinstance(value, bytes) else list(value) if hasattr(value, "__len__") else value

    def _fold(self, node: Any, inputs: list[Any], where: str) -> None:
        """Compute a node of constants by ONNX's own reference."""
        from onnx.reference import ReferenceEvaluator

        import onnx

        if node.op_type == "ConstantOfShape" and int(np.prod(inputs[0], dtype=np.float64)) > _LARGEST_CONSTANT:
            raise ValueError(f"{where} makes a constant of shape {inputs[0].tolist()}")
        names = [tensor for tensor in node.input if tensor]
        typed = [
            onnx.helper.make_tensor_value_info(x, onnx.helper.np_dtype_to_tensor_dtype(self.constants[x].dtype), None)
            for x in names
        ]
        graph = onnx.helper.make_graph([node], "constants", typed, [onnx.ValueInfoProto(name=node.output[0])])
        evaluator = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=self.opsets))
        values: Any = evaluator.run(None, {x: self.constants[x] for x in names})
        self.constants[node.output[0]] = np.asarray(values[0])
        if node.input and node.input[0] in self.scales:
            self.scales[node.output[0]] = self.scales[node.input[0]]

    def _fold_weight(self, node: Any, inputs: list[Any], attributes: dict[str, Any]) -> None:
        """A quantised constant as the numbers that act, and the value of an integer weight of 1."""
        values, scale, zero = (np.asarray(x, np.float32) for x in (inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else 0))
        if node.op_type == "Quant":
            levels = _levels(scale, zero, int(np.asarray(inputs[3]).item()), attributes)
            acting = np.clip(np.rint(values / scale), levels.low, levels.high) * scale
        else:
            axis = attributes.get("axis", 1)
            shape = [-1 if n == axis % values.ndim else 1 for n in range(values.ndim)] if scale.size > 1 else []
            scale, zero = scale.reshape(shape), zero.reshape(shape if zero.size > 1 else [])
            if node.op_type == "QuantizeLinear":
                kind = np.uint8 if len(inputs) < 3 else np.asarray(inputs[2]).dtype
                limits = np.iinfo(kind)
                self.constants[node.output[0]] = np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(kind)
                return
            acting = (values - zero) * scale
        self.constants[node.output[0]] = np.asarray(acting, np.float32)
        self.scales[node.output[0]] = scale.reshape(-1)


def _load_beside(tensor: Any, path: Path) -> None:
    """Read the numbers of a tensor from a file in the folder of the model; ValueError for any other place."""
    from onnx.external_data_helper import load_external_data_for_tensor

    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    beside = path.parent / location
    if not location or Path(location).name != location or beside.is_symlink() or not beside.is_file():
        raise ValueError(f"its tensor {tensor.name} lies in another file, {location!r}, which must be in the same folder")
    if beside.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{location} has more than {_LARGEST_FILE} bytes")
    load_external_data_for_tensor(tensor, str(path.parent))
    tensor.data_location = 0  # in the model


def _numbers(tensor: Any) -> NDArray[Any]:
    """The numbers of a tensor in the model; ValueError for one in another file, which is not opened."""
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError(f"its tensor {tensor.name} lies in another file; save the model with all weights in one")
    try:
        numbers: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise ValueError(f"its tensor {tensor.name} is damaged: {error}") from error
    return numbers


def _levels(scale: NDArray[Any], zero: NDArray[Any], bits: int, attributes: dict[str, Any]) -> Levels:
    if np.any(zero):
        raise ValueError(f"a Quant node has a zero point of {np.max(zero):g}; nets of windows need 0")
    if attributes.get("rounding_mode", "ROUND") not in ("ROUND", "HALF_EVEN"):
        raise ValueError(f"a Quant node rounds by {attributes['rounding_mode']}; nets of windows need ROUND")
    whole, narrow = 1 << bits, int(attributes.get("narrow", 0))
    if attributes.get("signed", 1):
        return Levels(torch.from_numpy(np.array(scale)), -(whole // 2) + narrow, whole // 2 - 1)
    return Levels(torch.from_numpy(np.array(scale)), 0, whole - 1 - narrow)


def _quant(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module:
    return _levels(np.asarray(inputs[1], np.float32), np.asarray(inputs[2]), int(np.asarray(inputs[3]).item()), attributes)


def _quantize(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> None:
    zero = np.asarray(inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.uint8(0))
    limits = np.iinfo(zero.dtype)
    quantized = _Quantized(node.input[0], np.asarray(inputs[1], np.float32), zero, int(limits.min), int(limits.max))
    reader.quantized[node.output[0]] = quantized


def _dequantize(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module | None:
    """QuantizeLinear and DequantizeLinear as `Levels`."""
    if node.input[0] not in reader.quantized:
        raise ValueError(f"{where} does not follow a QuantizeLinear")
    source, scale, zero, low, high = reader.quantized[node.input[0]]
    if zero.size > 1:
        raise ValueError(f"{where} has a zero point per channel; nets of windows have one")
    levels = Levels(_tensor(scale), low - int(zero), high - int(zero), _tensor(inputs[1]))
    name = f"levels_{len(reader.values)}"
    reader.root.add_module(name, levels)
    reader.values[node.output[0]] = reader.graph.call_module(name, (reader.values[source],))
    return None


def _conv(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module:
    weight = _constant(inputs, 1, where)
    sizes = weight.ndim - 2
    if sizes not in (1, 2):
        raise ValueError(f"{where} has a kernel of {sizes} dimensions; nets of windows have 1 or 2")
    strides, groups = attributes.get("strides", [1] * sizes), attributes.get("group", 1)
    before, after = _pads(attributes, weight.shape[2:], strides, where)
    kind: Any = nn.Conv1d if sizes == 1 else nn.Conv2d
    layer: nn.Module = kind(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=tuple(strides),
        padding=tuple(before) if before == after else 0,
        dilation=tuple(attributes.get("dilations", [1] * sizes)),
        groups=groups,
        bias=len(inputs) > 2,
    )
    _fill(reader, layer, weight, inputs[2] if len(inputs) > 2 else None, node.input[1])
    if before == after:
        return layer
    padding = nn.ZeroPad1d((before[0], after[0])) if sizes == 1 else nn.ZeroPad2d((before[1], after[1], before[0], after[0]))
    return nn.Sequential(padding, layer)


def _pads(attributes: dict[str, Any], kernel: Any, strides: Any, where: str) -> tuple[list[int], list[int]]:
    """Rows and columns of zeros before and after a map."""
    how = attributes.get("auto_pad", "NOTSET")
    if how in ("NOTSET", "VALID"):
        pads = attributes.get("pads", [0] * 2 * len(kernel)) if how == "NOTSET" else [0] * 2 * len(kernel)
        return pads[: len(kernel)], pads[len(kernel) :]
    if any(stride != 1 for stride in strides):
        raise ValueError(f"{where} has auto_pad {how} with a stride, so its padding depends on the map; export explicit pads")
    total = [size - 1 for size in kernel]
    small, large = [n // 2 for n in total], [n - n // 2 for n in total]
    return (small, large) if how == "SAME_UPPER" else (large, small)


def _gemm(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module:
    weight = _constant(inputs, 1, where)
    if node.op_type == "MatMul" or not attributes.get("transB", 0):
        weight = weight.T
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
        raise ValueError(f"{where} scales or transposes its input")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=len(inputs) > 2)
    _fill(reader, layer, weight, inputs[2] if len(inputs) > 2 else None, node.input[1])
    return layer


def _fill(reader: _Reader, layer: Any, weight: NDArray[Any], bias: NDArray[Any] | None, name: str) -> None:
    layer.weight = nn.Parameter(_tensor(weight))
    if bias is not None:
        layer.bias = nn.Parameter(_tensor(bias).reshape(-1))
    if name in reader.scales:
        layer.register_buffer("weight_scale", _tensor(reader.scales[name]))


def _norm(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module:
    gamma, beta, mean, variance = (_tensor(_constant(inputs, n, where)) for n in (1, 2, 3, 4))
    norm = nn.BatchNorm2d(len(mean), eps=attributes.get("epsilon", 1e-5))
    norm.load_state_dict({"weight": gamma, "bias": beta, "running_mean": mean, "running_var": variance}, strict=False)
    return norm


def _affine(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> Any:
    """Add of two tensors; arithmetic with a constant scales the images or a shortcut, or is the bias of a MatMul."""
    number = next((n for n, value in enumerate(inputs) if value is not None), None)
    if number is None:
        return operator.add if node.op_type == "Add" else _refuse_arithmetic(where)
    constant = _tensor(inputs[number]).reshape(-1)
    signal, kind = reader.values[node.input[1 - number]], node.op_type
    layer = reader.root.get_submodule(str(signal.target)) if signal.op == "call_module" else None
    if kind == "Add" and isinstance(layer, nn.Linear) and layer.bias is None:
        layer.bias = nn.Parameter(constant.expand(layer.out_features).clone())
        reader.values[node.output[0]] = signal
        return None
    if kind == "Mul" and isinstance(layer, Levels) and reader.uses[node.input[1 - number]] == 1:
        layer.unit = layer.unit * constant
        reader.values[node.output[0]] = signal
        return None
    if (number == 0 and kind in ("Sub", "Div")) or (kind in ("Mul", "Div") and not bool((constant > 0).all())):
        _refuse_arithmetic(where)
    zeros, ones = torch.zeros_like(constant), torch.ones_like(constant)
    mean, std = {"Add": (-constant, ones), "Sub": (constant, ones), "Mul": (zeros, 1 / constant), "Div": (zeros, constant)}[kind]
    return fs.Normalize(mean.tolist(), std.tolist())


def _refuse_arithmetic(where: str) -> Any:
    raise ValueError(f"{where} computes with tensors in a way that nets of windows lack; {_taken()}")


def _max_pool(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module:
    kernel = tuple(attributes["kernel_shape"])
    before, after = _pads(attributes, kernel, attributes.get("strides", [1] * len(kernel)), where)
    if before != after:
        raise ValueError(f"{where} pads its map unevenly")
    stride, row = tuple(attributes.get("strides", [1] * len(kernel))), len(kernel) == 1
    options: dict[str, Any] = {"padding": tuple(before), "ceil_mode": bool(attributes.get("ceil_mode", 0))}
    if node.op_type == "MaxPool":
        options["dilation"] = tuple(attributes.get("dilations", [1] * len(kernel)))
        return (nn.MaxPool1d if row else nn.MaxPool2d)(kernel, stride, **options)
    options["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
    return (nn.AvgPool1d if row else nn.AvgPool2d)(kernel, stride, **options)


def _mean(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module:
    axes: Any = attributes.get("axes", None if len(inputs) < 2 else np.asarray(inputs[1]).tolist())
    if node.op_type == "ReduceMean" and sorted(int(axis) % 4 for axis in axes or []) != [2, 3]:
        raise ValueError(f"{where} is a mean over other axes than height and width")
    mean = nn.AdaptiveAvgPool2d(1)
    kept = node.op_type == "GlobalAveragePool" or attributes.get("keepdims", 1)
    return mean if kept else nn.Sequential(mean, nn.Flatten())


def _reshape(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module:
    shape = None if len(inputs) < 2 or inputs[1] is None else np.asarray(inputs[1]).tolist()
    flat = attributes.get("axis", 1) == 1 if node.op_type == "Flatten" else shape is not None and len(shape) == 2
    if node.op_type != "Squeeze" and not flat:
        raise ValueError(f"{where} gives another shape than [batch, values]")
    return nn.Flatten()


def _unsqueeze(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module:
    constant = inputs[1] if len(inputs) > 1 else None
    axes: Any = attributes.get("axes") if constant is None else np.asarray(constant).reshape(-1).tolist()
    if reader.dimensions != 3 or axes not in ([2], [-2]):
        raise ValueError(f"{where} adds another dimension than the row of a signal")
    return nn.Identity()  # signals are maps of one row


def _pad(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module:
    pads = attributes.get("pads", None if len(inputs) < 2 or inputs[1] is None else np.asarray(inputs[1]).tolist())
    value = inputs[2] if len(inputs) > 2 and inputs[2] is not None else 0.0
    if pads is None or len(pads) != 8 or any(pads[n] for n in (0, 1, 4, 5)) or attributes.get("mode", "constant") != "constant":
        raise ValueError(f"{where} pads other axes than height and width, or not by a constant")
    if np.asarray(value).item() != 0:
        raise ValueError(f"{where} pads by {np.asarray(value).item():g}; nets of windows pad by 0")
    return nn.ZeroPad2d((pads[3], pads[7], pads[2], pads[6]))


def _clip(reader: _Reader, node: Any, inputs: list[Any], attributes: dict[str, Any], where: str) -> nn.Module | None:
    low, high = (
        attributes.get(name, None if len(inputs) <= n or inputs[n] is None else np.asarray(inputs[n]).item())
        for n, name in ((1, "min"), (2, "max"))
    )
    if (quantized := reader.quantized.get(node.input[0])) is not None:
        low, high = (limit if bound is None else int(bound) for bound, limit in ((low, quantized.low), (high, quantized.high)))
        limits = max(low, quantized.low), min(high, quantized.high)
        reader.quantized[node.output[0]] = quantized._replace(low=limits[0], high=limits[1])
        return None
    if low != 0 or (high is not None and high <= 0):
        raise ValueError(f"{where} clips to {low} and {high}; clips from 0 to a positive number are taken")
    return nn.ReLU() if high is None else nn.Hardtanh(0.0, high)


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))


def _constant(inputs: list[Any], number: int, where: str) -> NDArray[Any]:
    value = inputs[number]
    if value is None:
        raise ValueError(f"{where} has a weight that is computed from the images")
    array: NDArray[Any] = np.asarray(value)
    return array


_HANDLERS: dict[str, Callable[..., Any]] = {
    "Add": _affine,
    "AveragePool": _max_pool,
    "BatchNormalization": _norm,
    "Clip": _clip,
    "Conv": _conv,
    "DequantizeLinear": _dequantize,
    "Div": _affine,
    "Dropout": lambda *_: nn.Identity(),
    "Flatten": _reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": _mean,
    "Identity": lambda *_: nn.Identity(),
    "MatMul": _gemm,
    "MaxPool": _max_pool,
    "Mul": _affine,
    "Pad": _pad,
    "Quant": _quant,
    "QuantizeLinear": _quantize,
    "ReduceMean": _mean,
    "Relu": lambda *_: nn.ReLU(),
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Sub": _affine,
    "Unsqueeze": _unsqueeze,
}


def _taken() -> str:
    return f"taken are {', '.join(_HANDLERS)}"
