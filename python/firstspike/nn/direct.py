"""Directly coded layers: the data as a constant current, the first layer of a net."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import functional
from .._base import checks
from .._base.geometry import one_channel
from ..functional.layer import accumulate, full_precision
from ..init import synaptic_gain
from ..ops.direct import direct_convolution
from ..spikes import SpikeTimes
from .firing import FiringLayer
from .synapses import Convolution, FullyConnected, Pair


class _Direct(FiringLayer):
    """A layer whose input is data, not spikes: nothing is pooled or dropped."""

    _fixed = ("avg_pool", "dropout")

    def __init__(self, shape: tuple[int, ...], **options: Any) -> None:
        super().__init__(shape, avg_pool=1, dropout=0.0, **options)

    def _usual_gain(self) -> float:
        return float(self.steps**-0.5) * synaptic_gain(self.steps, self.decay, self.synaptic_decay, constant=True)

    def forward(self, x: Tensor, *, membrane: bool = False) -> SpikeTimes | tuple[SpikeTimes, Tensor]:
        """Return spike times [B, O, ...] of data x, float32; with `membrane` also V, float32 [T, B, O, ...], see `membrane`."""
        checks.boolean("membrane", membrane)
        current = self._current(x)
        spikes = functional.ramp(current, self.steps, **self.neuron._asdict())
        return (spikes, self._potential(current)) if membrane else spikes

    def membrane(self, x: Tensor) -> Tensor:
        """Return the potential V, float32 [T, B, O, ...]: exact up to each neuron's spike; then without reset."""
        return self._potential(self._current(x))

    def _potential(self, current: Tensor) -> Tensor:
        return accumulate(current.expand(self.steps, *current.shape), self.decay, self.synaptic_decay)

    def _current(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _rounded_current(self, current: Tensor) -> Tensor:
        """The current as a quantizer with a method `round_current` makes it."""
        rounded = getattr(self.quantizer, "round_current", None)
        return current if rounded is None else rounded(current)

    def _checked(self, x: Tensor) -> Tensor:
        x, channels = checks.float32("x", x, self.weight.dim()), self.weight.shape[1]
        if x.shape[1] != channels:
            raise ValueError(f"x must have shape [batch, {channels}, ...], got {tuple(x.shape)}")
        checks.same_device("x", x, "weight", self.weight)
        return x


class DirectLinear(FullyConnected, _Direct):
    """Direct coding: the constant current I = gamma (W x) + beta in every step, so that V[t] = (t + 1) I for decay 1.

    The product is computed once, whatever T is, and the time has a closed form (`functional.ramp`). `gain` is 1 / sqrt(T), since
    the whole input arrives in every step, times `init.synaptic_gain`. Takes float32 [B, in_features] and returns SpikeTimes
    [B, out_features].

    Parameters
    ----------
    in_features, out_features : N and O.
    steps, threshold, surrogate, decay, synaptic_decay : as in `TTFSLinear`.
    bias, affine, gain, init, normalization, generator : as in `TTFSLinear`.

    Examples
    --------
    >>> DirectLinear(64, 10, steps=8)(torch.rand(4, 64)).shape
    torch.Size([4, 10])
    """

    def _current(self, x: Tensor) -> Tensor:
        return self._rounded_current(constant_current(self._checked(x), *self.effective_weight_and_bias()))


class DirectConv2d(Convolution, _Direct):
    """Direct coding through a convolution, see `DirectLinear`. Sizes are as in `torch.nn.Conv2d`, each an int or a pair.

    Takes float32 [B, in_channels, H, W] and returns SpikeTimes [B, out_channels, H', W'].

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding : as in `TTFSConv2d`.
    steps, threshold, surrogate, decay, synaptic_decay : as in `TTFSLinear`.
    bias, affine, gain, init, normalization, generator : as in `TTFSLinear`.

    Examples
    --------
    >>> DirectConv2d(3, 16, 3, padding=1, steps=8)(torch.rand(4, 3, 8, 8)).shape
    torch.Size([4, 16, 8, 8])
    """

    def _current(self, x: Tensor) -> Tensor:
        x = self._checked(x)
        if any(size + 2 * pad < k for size, pad, k in zip(x.shape[2:], self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"x must be maps that hold the kernel {self.kernel_size}, padded, got {tuple(x.shape)}")
        return self._rounded_current(constant_current(x, *self.effective_weight_and_bias(), self.stride, self.padding))


def constant_current(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair = (1, 1), padding: Pair = (0, 0)) -> Tensor:
    """Return the current of directly coded data: x [B, N] with a weight [O, N], or x [B, C, H, W] with [O, C, kh, kw].

    Training, inference and the emulator's host encoder all call it, so that the currents of a batch are equal to the bit.
    """
    with full_precision(x.device):
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        x = one_channel(x, weight, stride, padding) if x.shape[1] == 1 else x
        x = x.contiguous(memory_format=torch.channels_last)
        weight = weight.contiguous(memory_format=torch.channels_last)
        current: Tensor = direct_convolution(x, weight, bias, stride, padding)
        return current
