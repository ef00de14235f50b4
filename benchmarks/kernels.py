"""A layer's passes as calls that can be timed: functions of spike times, and their gradients at the support alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from firstspike import SpikeTimes, functional
from firstspike.nn import TTFSConv2d, TTFSLinear

Layer = TTFSLinear | TTFSConv2d


def anchor(spikes: SpikeTimes) -> Tensor:
    """The tensor that carries the gradient of spikes, one entry per entry of their support (docs/model.md)."""
    tensor = spikes._anchor
    assert tensor is not None
    return tensor


def support(spikes: SpikeTimes) -> Any:
    """`offset`, `place` and `slope` of the entries with a surrogate derivative."""
    return spikes._support


@dataclass(frozen=True)
class LayerCalls:
    """One layer call on the input `x`, which carries a support where its gradient is asked for.

    call: `functional.linear` or `functional.conv2d`. options: its further arguments.
    """

    call: Callable[..., SpikeTimes]
    x: SpikeTimes
    weight: Tensor
    bias: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, layer: Layer, x: SpikeTimes) -> LayerCalls:
        """The call that `layer` makes of `x`."""
        weight, bias = layer.effective_weight_and_bias()
        options = {name: getattr(layer, name) for name in ("threshold", "decay", "surrogate", "avg_pool")}
        if isinstance(layer, TTFSConv2d):
            options |= {"stride": layer.stride, "padding": layer.padding}
        call = functional.conv2d if isinstance(layer, TTFSConv2d) else functional.linear
        return cls(call, x, weight.detach(), None if bias is None else bias.detach(), options)

    def forward(self, *, record: bool = True) -> Callable[[], SpikeTimes]:
        """The forward pass; record: with the support, as in training."""
        weight, x = self.weight.clone().requires_grad_(record), self.x.detach()
        return lambda: self.call(x, weight, self.bias, **self.options)

    def weight_gradient(self) -> Callable[[], Tensor]:
        """dL/dW, for a random gradient at the output's support."""
        weight = self.weight.clone().requires_grad_()
        return _gradient(self.call(self.x.detach(), weight, self.bias, **self.options), weight)

    def input_gradient(self) -> Callable[[], Tensor]:
        """dL/ds at the support of the layer that made the input."""
        return _gradient(self.call(self.x, self.weight, self.bias, **self.options), anchor(self.x))


def _gradient(out: SpikeTimes, of: Tensor) -> Callable[[], Tensor]:
    tensor = anchor(out)
    gradient = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor.device)
    return lambda: torch.autograd.grad(tensor, of, gradient, retain_graph=True)[0]
