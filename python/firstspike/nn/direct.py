"""Directly coded layers: the data as a constant current, the first layer of a net."""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _checks, functional
from ..spikes import SpikeTimes
from ._inputs import accumulate, full_precision
from .firing import FiringLayer, FiringOptions


class _Direct(FiringLayer):
    """A layer that no spikes reach."""

    def __init__(self, shape: tuple[int, ...], **options: Unpack[FiringOptions]) -> None:
        if options.get("dropout"):
            raise ValueError(f"dropout must be 0 in a layer that no spikes reach, got {options['dropout']}")
        super().__init__(shape, _checks.steps(options.get("steps")) ** -0.5, **options)


class DirectLinear(_Direct):
    """Direct coding: the constant current I = gamma (W x) + beta in every step, so that V[t] = (t + 1) I for decay 1.

    The product is computed once, whatever T is, and the time has a closed form (`functional.ramp`). `gain` is 1 /
    sqrt(T), since the whole input arrives in every step. Options as in `Synapse` (steps is required) and `FiringLayer`.
    """

    def __init__(self, in_features: int, out_features: int, **options: Unpack[FiringOptions]) -> None:
        _checks.integer("in_features", in_features, 1)
        _checks.integer("out_features", out_features, 1)
        super().__init__((out_features, in_features), **options)
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> SpikeTimes:
        """Spike times [B, O] of data x, float32 [B, N]."""
        return functional.ramp(self._current(x), self.steps, **self.neuron)

    def membrane(self, x: Tensor) -> Tensor:
        """The potential V, float32 [T, B, O]: exact up to each neuron's spike; after it, V goes on without reset."""
        current = self._current(x)
        return accumulate(current.expand(self.steps, *current.shape), self.decay)

    def _current(self, x: Tensor) -> Tensor:
        x = _checks.float32("x", x, 2)
        if x.shape[1] != self.in_features:
            raise ValueError(f"x must have shape [batch, {self.in_features}], got {tuple(x.shape)}")
        with full_precision(x.device):
            return F.linear(x, *self.effective_weight_and_bias())


class DirectConv2d(_Direct):
    """Direct coding through a convolution, see `DirectLinear`. Sizes as in `torch.nn.Conv2d`, square kernels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        **options: Unpack[FiringOptions],
    ) -> None:
        _checks.integer("in_channels", in_channels, 1)
        _checks.integer("out_channels", out_channels, 1)
        _checks.integer("kernel_size", kernel_size, 1)
        super().__init__((out_channels, in_channels, kernel_size, kernel_size), **options)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride = _checks.integer("stride", stride, 1)
        self.padding = _checks.integer("padding", padding, 0)

    def forward(self, x: Tensor) -> SpikeTimes:
        """Spike times [B, O, H', W'] of data x, float32 [B, C, H, W]."""
        x = _checks.float32("x", x, 4)
        if x.shape[1] != self.in_channels:
            raise ValueError(f"x must have shape [batch, {self.in_channels}, height, width], got {tuple(x.shape)}")
        weight, bias = self.effective_weight_and_bias()
        if self.in_channels == 1:  # both formats at once: torch would take it for the other, and copy what comes out
            x = x.reshape(len(x), *x.shape[2:], 1).permute(0, 3, 1, 2)
        x = x.contiguous(memory_format=torch.channels_last)
        weight = weight.contiguous(memory_format=torch.channels_last)
        with full_precision(x.device):
            current = F.conv2d(x, weight, bias, self.stride, self.padding)
        return functional.ramp(current, self.steps, **self.neuron)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, {super().extra_repr()}"
