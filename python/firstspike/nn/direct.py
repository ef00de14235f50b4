"""Directly coded layers: the data as a constant current, the first layer of a net."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .. import _checks, functional
from ..spikes import SpikeTimes
from ..surrogate import Surrogate
from ._trains import accumulate, full_precision
from .firing import FiringLayer
from .synapse import Affine


class DirectLinear(FiringLayer):
    """Direct coding: the constant current I = gamma (W x) + beta in every step, so that V[t] = (t + 1) I for decay 1.

    The product is computed once, whatever T is, and the time has a closed form (`functional.ramp`). `gain` is 1 / sqrt(T),
    since the whole input arrives in every step. Parameters as in `Synapse`, the neuron's settings as in `FiringLayer`.
    """

    def __init__(self, in_features: int, out_features: int, *, steps: int, bias: bool = True, affine: Affine = "channel",
                 threshold: float = 1.0, decay: float = 1.0, surrogate: Surrogate | None = None,
                 generator: Generator | None = None) -> None:
        self.in_features = _checks.integer("in_features", in_features, 1)
        self.out_features = _checks.integer("out_features", out_features, 1)
        super().__init__((out_features, in_features), steps=steps, gain=_checks.steps(steps) ** -0.5, bias=bias, affine=affine,
                         threshold=threshold, decay=decay, surrogate=surrogate, generator=generator)

    def forward(self, x: Tensor) -> SpikeTimes:
        """Spike times [B, O] of data x, float32 [B, N]."""
        return functional.ramp(self._current(x), self.steps, **self.neuron)

    def membrane(self, x: Tensor) -> Tensor:
        """The potential V, float32 [T, B, O], of x: exact up to each neuron's spike; after it, V goes on without reset."""
        current = self._current(x)
        return accumulate(current.expand(self.steps, *current.shape), self.decay)

    def _current(self, x: Tensor) -> Tensor:
        x = _checks.float32("x", x, 2)
        if x.shape[1] != self.in_features:
            raise ValueError(f"x must have shape [batch, {self.in_features}], got {tuple(x.shape)}")
        with full_precision(x.device):
            return F.linear(x, *self.synapse())

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{self.in_features}, {self.out_features}, {self.settings()}"


class DirectConv2d(FiringLayer):
    """Direct coding through a convolution, see `DirectLinear`. Sizes as in `torch.nn.Conv2d`, square kernels."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, steps: int, stride: int = 1, padding: int = 0,
                 bias: bool = True, affine: Affine = "channel", threshold: float = 1.0, decay: float = 1.0,
                 surrogate: Surrogate | None = None, generator: Generator | None = None) -> None:
        self.in_channels = _checks.integer("in_channels", in_channels, 1)
        self.out_channels = _checks.integer("out_channels", out_channels, 1)
        self.kernel_size = _checks.integer("kernel_size", kernel_size, 1)
        self.stride = _checks.integer("stride", stride, 1)
        self.padding = _checks.integer("padding", padding, 0)
        super().__init__((out_channels, in_channels, kernel_size, kernel_size), steps=steps, gain=_checks.steps(steps) ** -0.5,
                         bias=bias, affine=affine, threshold=threshold, decay=decay, surrogate=surrogate, generator=generator)

    def forward(self, x: Tensor) -> SpikeTimes:
        """Spike times [B, O, H', W'] of data x, float32 [B, C, H, W]."""
        x = _checks.float32("x", x, 4)
        if x.shape[1] != self.in_channels:
            raise ValueError(f"x must have shape [batch, {self.in_channels}, height, width], got {tuple(x.shape)}")
        weight, bias = self.synapse()
        with full_precision(x.device):
            x = x.contiguous(memory_format=torch.channels_last)
            weight = weight.contiguous(memory_format=torch.channels_last)
            return functional.ramp(F.conv2d(x, weight, bias, self.stride, self.padding), self.steps, **self.neuron)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"padding={self.padding}, {self.settings()}")
