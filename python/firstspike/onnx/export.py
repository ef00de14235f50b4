"""`to_onnx`: a net of windows as an ONNX graph of one pass, without a loop over time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import nn as fs
from .._base import checks
from .._base.files import write_atomic
from .._base.modules import plain_copy
from ..emulator.program.program import Program
from ..models import as_net
from .graph import Graph
from .integers import integer_graph

Form = Literal["qdq", "qonnx"]


def to_onnx(net: nn.Module | Program, path: str | os.PathLike[str], *, form: Form = "qdq") -> Path:
    """Write a net of windows, or a program of one, as an ONNX file; each layer's levels are what the net computes.

    A net of windows is a ReLU net with T + 1 levels, so its graph has a product, a clip and a rounding per layer. The input `x`
    is float32 [batch, *input_shape] in [0, 1] (of the range of the net's `normalize`, if it has one), the output `scores`
    float32 [batch, classes]. The levels equal the net's except at ties: ONNX rounds half to even, and sums in another order.

    A program becomes integer ONNX (ConvInteger, MatMulInteger): `x` is uint8 pixels where the program takes all 256 levels,
    `scores` int32, and every integer equals `emulator.run`.

    Parameters
    ----------
    net : Module or Program
        A `models.TTFSNet` of windows, a Sequential that `models.as_net` takes, or a program of `emulator.quantize`.
    path : str or PathLike
        The file; it is replaced in one step.
    form : {"qdq", "qonnx"}
        How a float net's levels are written: QuantizeLinear and DequantizeLinear, which ONNX Runtime runs, or `Quant` of QONNX,
        which Brevitas, FINN and hls4ml read.

    Raises
    ------
    ValueError
        For a net or program that works step by step, which has no graph without a loop; for weights of a program with more than
        8 bits.

    Examples
    --------
    >>> net = models.build("8C3-AP2-32-10", input_shape=(1, 8, 8), steps=15, timing="windowed")
    >>> to_onnx(net, "net.onnx").name
    'net.onnx'
    """
    target = checks.path("path", path)
    checks.one_of("form", form, ("qdq", "qonnx"))
    if isinstance(net, Program):
        graph = integer_graph(net)
    else:
        checks.instance("net", net, nn.Module, "a module or a Program")
        graph = _float_graph(as_net(plain_copy(net)), form)
    return write_atomic(target, graph.serialized())


def _float_graph(net: Any, form: Form) -> Graph:
    if net.timing != "windowed":
        raise ValueError("net must be of windows: a step-by-step net has a loop over time, which ONNX lacks; export C or NIR")
    graph = Graph("net", ("x", "float32", net.input_shape), ("scores", "float32"), qonnx=form == "qonnx")
    writer = _Writer(graph)
    values = writer.module("encoder", net.encoder, "x") if net.normalize is None else None
    if values is None:
        values = writer.module("encoder", net.encoder, writer.module("normalize", net.normalize, "x"))
    for number, layer in enumerate(net.layers):
        values = writer.module(f"layers.{number}", layer, values)
    weight, bias = net.readout.effective_weight_and_bias()
    graph.finish(writer.product("readout", net.readout, values, _array(weight), _array(bias)))
    return graph


class _Writer:
    """Writes modules into a graph; values of spikes are float32 in [0, 1], the levels divided by their window's steps."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.handlers: dict[type[nn.Module], Callable[[str, Any, str], str]] = {
            nn.Identity: lambda name, module, x: x,
            nn.Dropout: lambda name, module, x: x,
            nn.Flatten: lambda name, module, x: graph.node(name, "Flatten", x, axis=1),
            nn.Sequential: self._chain,
            fs.Normalize: self._normalize,
            fs.WindowedEncoder: self._encoder,
            fs.WindowedLinear: self._layer,
            fs.WindowedConv2d: self._layer,
            fs.WindowedAvgPool2d: self._layer,
            fs.EarliestPool2d: self._max_pool,
            fs.WindowedMaxPool2d: self._max_pool,
            fs.Residual: self._residual,
        }

    def module(self, name: str, module: nn.Module, x: str) -> str:
        """Write a module that takes the tensor x, and return the name of its output."""
        if type(module) not in self.handlers:
            raise ValueError(f"net must be made of firstspike's layers of windows, got {type(module).__name__} at {name}")
        return self.handlers[type(module)](name, module, x)

    def product(
        self,
        name: str,
        layer: Any,
        x: str,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        *,
        pool: int | None = None,
    ) -> str:
        """Write weight times the pooled values x, plus bias."""
        pool = layer.avg_pool if pool is None else pool
        if pool > 1:
            x = self.graph.node(f"{name}.average", "AveragePool", x, kernel_shape=[pool, pool], strides=[pool, pool])
        operands = [self.graph.constant(f"{name}.weight", weight)]
        operands += [] if bias is None else [self.graph.constant(f"{name}.bias", bias)]
        if weight.ndim == 2:
            flat = self.graph.node(f"{name}.flat", "Flatten", x, axis=1)
            return self.graph.node(f"{name}.current", "Gemm", flat, *operands, transB=1)
        sizes = {"strides": list(layer.stride), "pads": [*layer.padding] * 2, "group": layer.groups}
        return self.graph.node(f"{name}.current", "Conv", x, *operands, **sizes)

    def _chain(self, name: str, chain: nn.Sequential, x: str) -> str:
        for number, part in enumerate(chain):
            x = self.module(f"{name}.{number}", part, x)
        return x

    def _normalize(self, name: str, module: fs.Normalize, x: str) -> str:
        mean, std = (_array(values).reshape(-1, *[1] * (self.graph.dimensions - 2)) for values in (module.mean, module.std))
        centred = self.graph.node(f"{name}.centred", "Sub", x, self.graph.constant(f"{name}.mean", mean))
        return self.graph.node(name, "Div", centred, self.graph.constant(f"{name}.std", std))

    def _encoder(self, name: str, encoder: fs.WindowedEncoder, x: str) -> str:
        if any(encoder.padding):
            (rows, columns), fill = encoder.padding, np.array(encoder.fill, np.float32).reshape(-1, 1, 1)
            pads = self.graph.constant(f"{name}.pads", np.array([0, 0, rows, columns] * 2, np.int64))
            border = self.graph.constant(f"{name}.fill", fill)
            x = self.graph.node(f"{name}.padded", "Pad", self.graph.node(f"{name}.less", "Sub", x, border), pads)
            x = self.graph.node(f"{name}.filled", "Add", x, border)
        return self.graph.levels(name, x, encoder.steps)

    def _layer(self, name: str, layer: Any, x: str, shortcut: Callable[[NDArray[np.float32]], str] | None = None) -> str:
        """Write a layer that fires. shortcut: writes a current to add, divided by a clip per output channel."""
        weight, bias = (_array(values) for values in layer.effective_weight_and_bias())
        clip = _array(layer.clip)
        current = self.product(name, layer, x, weight / clip.reshape(-1, *[1] * (weight.ndim - 1)), bias / clip)
        if shortcut is not None:
            current = self.graph.node(f"{name}.sum", "Add", current, shortcut(np.broadcast_to(clip, bias.shape)))
        return self.graph.levels(name, current, layer.steps)

    def _max_pool(self, name: str, pool: Any, x: str) -> str:
        kernel, stride, padding = (
            [*size] if isinstance(size, tuple) else [size] * 2
            for size in (pool.kernel_size, getattr(pool, "stride", pool.kernel_size), getattr(pool, "padding", 0))
        )
        return self.graph.node(f"{name}.values", "MaxPool", x, kernel_shape=kernel, strides=stride, pads=padding * 2)

    def _residual(self, name: str, block: Any, x: str) -> str:
        *layers, last = block.layers

        def shortcut(clip: NDArray[np.float32]) -> str:
            if block.shortcut is not None:
                weight = _array(last.effective_shortcut_scale(block.shortcut.weight)) / clip.reshape(-1, 1, 1, 1)
                return self.product(f"{name}.shortcut", block.shortcut, x, weight, None)
            scale = _array(last.effective_shortcut_scale(block.scale)) / clip
            pool, values = layers[0].avg_pool if layers else last.avg_pool, x
            if pool > 1:
                values = self.graph.node(f"{name}.average", "AveragePool", x, kernel_shape=[pool, pool], strides=[pool, pool])
            scale = scale.reshape(-1, *[1] * (last.weight.dim() - 2))
            return self.graph.node(f"{name}.shortcut", "Mul", values, self.graph.constant(f"{name}.scale", scale))

        values = x
        for number, layer in enumerate(layers):
            values = self.module(f"{name}.layers.{number}", layer, values)
        return self._layer(f"{name}.layers.{len(layers)}", last, values, shortcut)


def _array(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.detach().float().cpu().numpy()
    return array
