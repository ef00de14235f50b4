"""Nets of windows: from strings, and as modules that show their spikes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from .. import nn as fs
from .._base import checks
from ..nn.image_scaling import as_float
from ..nn.windowed import WindowedLayer
from ..spikes import SpikeTimes
from .grammar import Conv, Pool, Residual, fail
from .net import BuiltNet, Observation
from .sizes import SizedLayer, check_input_shape, layer_sizes


class WindowedNet(BuiltNet):
    """A net of windows: an encoder, layers, a readout. `models.build(..., timing="windowed")` makes it from a string.

    Parameters
    ----------
    layers : iterable of Module
        Windowed layers of `firstspike.nn`, residual blocks, and pools.
    readout : nn.WindowedReadout
    input_shape : tuple of int
        The shape of one sample, (N,) or (C, H, W).
    encoder : nn.WindowedEncoder, optional
        By default of 255 steps.

    Examples
    --------
    >>> net = models.build("8C3-AP2-32-10", input_shape=(1, 8, 8), steps=16, timing="windowed")
    >>> net(torch.rand(4, 1, 8, 8)).shape, net.latency
    (torch.Size([4, 10]), 32)
    """

    def __init__(
        self,
        layers: Iterable[nn.Module],
        *,
        readout: nn.Module,
        input_shape: tuple[int, ...],
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = fs.WindowedEncoder() if encoder is None else encoder
        self.layers = nn.ModuleList(checks.in_order("layers", layers, nn.Module, "modules"))
        checks.instance("readout", readout, fs.WindowedReadout, "an nn.WindowedReadout")
        self.readout, self.input_shape = readout, check_input_shape(input_shape)

    @property
    def latency(self) -> int:
        """The steps of all windows of layers that fire: scores are there so long after the input's window."""
        return sum(layer.steps for layer in self.layers.modules() if isinstance(layer, WindowedLayer))

    def forward(self, x: Tensor | SpikeTimes) -> Tensor:
        """Scores, float32 [B, classes], of x [B, *input_shape], uint8 or float32 in [0, 1], or SpikeTimes in a window."""
        if not isinstance(x, SpikeTimes) and getattr(x, "dtype", None) is not torch.uint8:
            x = as_float("x", x)
            checks.finite("x", x)
        if tuple(x.shape[1:]) not in (self.input_shape, (math.prod(self.input_shape),)):
            wanted = ", ".join(map(str, self.input_shape))
            raise ValueError(f"x must have shape [batch, {wanted}], got {tuple(x.shape)}")
        signal = x if isinstance(x, SpikeTimes) else self.encoder(x)
        for layer in self.layers:
            signal = layer(signal)
        scores: Tensor = self.readout(signal)
        return scores

    def observe(self, x: Tensor | SpikeTimes) -> Observation:
        """The forward pass on x with the spikes of its layers; every decision is in the last step of `latency`."""
        layers: list[SpikeTimes] = []
        hooks = [
            layer.register_forward_hook(lambda module, given, spikes: layers.append(spikes))
            for layer in self.layers.modules()
            if isinstance(layer, WindowedLayer)
        ]
        try:
            scores = self(x)
        finally:
            for hook in hooks:
                hook.remove()
        no, none = torch.zeros(len(scores), dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
        steps = max(self.latency, 1)
        decided = torch.full((len(scores),), steps - 1)
        return Observation(scores, layers, None, decided, no, no, none, none, steps)


def build_windowed(config: dict[str, Any], generator: Generator | None) -> WindowedNet:
    """The net of a string with `models.build`'s arguments for nets of windows."""
    spec, shape = config["spec"], check_input_shape(config["input_shape"])
    dropout = checks.real("dropout", config["dropout"], 0.0, 0.99)
    options: dict[str, Any] = {
        "steps": checks.window(config["steps"]),
        "normalization": checks.boolean("normalization", config["normalization"]),
        "generator": generator,
    }

    def made(item: SizedLayer, factor: int, first: bool = False) -> WindowedLayer:
        if isinstance(item.token, Conv):
            how: dict[str, Any] = {"stride": item.token.stride, "padding": item.token.padding, "avg_pool": factor}
            return fs.WindowedConv2d(item.inputs, item.outputs, item.token.kernel, **how, **options)
        drop = 0.0 if first else dropout  # the data keep all their spikes
        return fs.WindowedLinear(item.inputs, item.outputs, avg_pool=factor, dropout=drop, **options)

    layers: list[nn.Module] = []
    *sized, last = layer_sizes(spec, shape, config["pooling"])
    factor = 1
    for item in sized:
        token = item.token
        if isinstance(token, Pool):
            factor = token.factor if token.kind == "avg" else 1
            layers += [] if token.kind == "avg" else [fs.EarliestPool2d(token.factor)]
            continue
        if isinstance(token, Residual):
            body = [made(part, 1 if number else factor) for number, part in enumerate(item.body)]
            strides = [part.token.stride for part in item.body if isinstance(part.token, Conv)]
            stride = math.prod(s[0] for s in strides), math.prod(s[1] for s in strides)
            if not strides and item.inputs != item.outputs:
                raise fail(spec, token, f"a block of fully connected layers must keep its {item.inputs} neurons")
            side = None
            if item.inputs != item.outputs or stride != (1, 1):
                side = fs.WindowedShortcut(item.inputs, item.outputs, stride=stride, avg_pool=factor, generator=generator)
            layers.append(fs.Residual(body, side))
        else:
            layers.append(made(item, factor, not layers))
        factor = 1
    drop = dropout if layers else 0.0
    readout = fs.WindowedReadout(last.inputs, last.outputs, avg_pool=factor, dropout=drop, generator=generator)
    net = WindowedNet(layers, readout=readout, input_shape=shape)
    net._config = config | {"input_shape": list(shape)}
    return net
