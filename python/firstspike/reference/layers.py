"""Layers: the current X[t] = W s[t] + bias, then the neuron. Counterparts of `firstspike.functional`."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.nn.functional import conv2d as torch_conv2d

from firstspike.surrogate import Surrogate, triangle

from . import neuron
from .spike_train import SpikeTrain


class Spikes(Protocol):
    """``SpikeTrain`` or ``SpikeTimes``: whatever has a dense form."""

    def dense(self) -> Tensor:
        """Float [T, B, ...]."""
        ...


def _pool(x: Tensor, size: int) -> Tensor:
    """Average over size x size windows of x [T, B, C, H, W]; rows and columns that fill no window are dropped."""
    if size == 1:
        return x
    return torch.unflatten(avg_pool2d(x.flatten(0, 1), size), 0, x.shape[:2])


def linear_current(spikes: Spikes, weight: Tensor, bias: Tensor | None = None, *, avg_pool: int = 1) -> Tensor:
    """Current [T, B, O] of a fully connected layer.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4)
        >>> weight = torch.tensor([[0.6, 0.6, 5.0]], dtype=torch.float64)
        >>> reference.linear_current(x, weight)[:, 0, 0].tolist()
        [0.6, 0.0, 0.6, 0.0]
    """
    x = _pool(spikes.dense().to(weight.dtype), avg_pool).flatten(2)
    current = x @ weight.T
    return current if bias is None else current + bias


def conv2d_current(
    spikes: Spikes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    avg_pool: int = 1,
) -> Tensor:
    """Current [T, B, O, H', W'] of a convolution.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.zeros(1, 1, 3, 3, dtype=torch.uint8), 4)
        >>> weight = torch.full((2, 1, 2, 2), 0.5, dtype=torch.float64)
        >>> reference.conv2d_current(x, weight).shape
        torch.Size([4, 1, 2, 2, 2])
    """
    x = _pool(spikes.dense().to(weight.dtype), avg_pool)
    current = torch_conv2d(x.flatten(0, 1), weight, bias, stride, padding)
    return torch.unflatten(current, 0, x.shape[:2])


def ramp(
    current: Tensor,
    steps: int,
    *,
    threshold: float = 1.0,
    decay: float = 1.0,
    surrogate: Surrogate = triangle(),
) -> SpikeTrain:
    """Direct coding: the constant current [B, ...] enters in every one of ``steps`` steps.

    Examples:
        >>> reference.ramp(torch.tensor([[1.0, 0.3, 0.1]]), 4).times.tolist()
        [[0, 3, 255]]
    """
    every_step = torch.stack([current] * steps)
    return SpikeTrain(neuron.fire(every_step, threshold=threshold, decay=decay, surrogate=surrogate))


def linear(
    spikes: Spikes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    avg_pool: int = 1,
    threshold: float | Tensor = 1.0,
    decay: float = 1.0,
    surrogate: Surrogate = triangle(),
    shortcut: Spikes | None = None,
    shortcut_scale: float | Tensor = 1.0,
) -> SpikeTrain:
    """Fully connected layer of neurons: spikes [B, N], or a map [B, C, H, W] pooled and flattened; weight [O, N].

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4)
        >>> weight = torch.tensor([[0.6, 0.6, 5.0]], dtype=torch.float64)
        >>> reference.linear(x, weight).times.tolist()
        [[2]]
    """
    current = linear_current(spikes, weight, bias, avg_pool=avg_pool)
    current, threshold = _completed(current, threshold, shortcut, shortcut_scale)
    return SpikeTrain(neuron.fire(current, threshold=threshold, decay=decay, surrogate=surrogate))


def conv2d(
    spikes: Spikes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    avg_pool: int = 1,
    threshold: float | Tensor = 1.0,
    decay: float = 1.0,
    surrogate: Surrogate = triangle(),
    shortcut: Spikes | None = None,
    shortcut_scale: float | Tensor = 1.0,
) -> SpikeTrain:
    """Convolution of a map [B, C, H, W], pooled first, with weight [O, C, kh, kw].

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.zeros(1, 1, 3, 3, dtype=torch.uint8), 4)
        >>> weight = torch.full((2, 1, 2, 2), 0.5, dtype=torch.float64)
        >>> reference.conv2d(x, weight).times.unique()
        tensor([0], dtype=torch.uint8)
    """
    current = conv2d_current(spikes, weight, bias, stride=stride, padding=padding, avg_pool=avg_pool)
    current, threshold = _completed(current, threshold, shortcut, shortcut_scale)
    return SpikeTrain(neuron.fire(current, threshold=threshold, decay=decay, surrogate=surrogate))


def _completed(
    current: Tensor, threshold: float | Tensor, shortcut: Spikes | None, scale: float | Tensor
) -> tuple[Tensor, float]:
    """The current [T, B, O, ...] with a shortcut's spikes added, in units of thresholds [O]; and the threshold then."""
    per_channel = (-1, *[1] * (current.dim() - 3))
    if shortcut is not None:
        x = shortcut.dense().to(current.dtype)
        if current.dim() == 5:  # every n-th row and column of a larger map
            rows, columns = (max(1, -(-x.shape[i] // current.shape[i])) for i in (-2, -1))
            x = x[..., ::rows, ::columns]
        if isinstance(scale, Tensor) and scale.dim():  # of one per output those of the shortcut's channels count
            scale = (scale if len(scale) == 1 else scale[: x.shape[2]]).view(per_channel)
        x = x * scale
        rest = current.shape[2] - x.shape[2]
        current = current + torch.nn.functional.pad(x, (*[0, 0] * (current.dim() - 3), 0, rest))
    if isinstance(threshold, Tensor) and threshold.dim():
        return current / threshold.view(per_channel), 1.0
    return current, float(threshold)


def integrate(
    spikes: Spikes, weight: Tensor, bias: Tensor | None = None, *, avg_pool: int = 1, decay: float = 1.0
) -> Tensor:
    """Readout membrane [T, B, O] of a layer that never fires.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4)
        >>> weight = torch.tensor([[0.6, 0.6, 5.0]], dtype=torch.float64)
        >>> reference.integrate(x, weight)[:, 0, 0].tolist()
        [0.6, 0.6, 1.2, 1.2]
    """
    return neuron.membrane(linear_current(spikes, weight, bias, avg_pool=avg_pool), decay)


def dropout(spikes: Spikes, p: float, *, seed: Tensor) -> SpikeTrain:
    """Spikes without the dropped ones; the random numbers are those of SplitMix64, 16 bits per neuron.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.zeros(1, 1000, dtype=torch.uint8), 4)
        >>> 400 < reference.dropout(x, 0.5, seed=torch.tensor(1)).count().item() < 600
        True
    """
    x = spikes.dense()
    batch, channels, *size = x.shape[1:] if x.dim() == 5 else (x.shape[1], math.prod(x.shape[2:]))
    sites, quads = batch * math.prod(size), -(-channels // 4)
    lots = [_split_mix(int(seed) + (draw + 1) * 0x9E3779B97F4A7C15) for draw in range(sites * quads)]
    lost = [
        [(lots[site * quads + c // 4] >> 16 * (c % 4)) % 65536 >= round((1 - p) * 65536) for c in range(channels)]
        for site in range(sites)
    ]
    mask = torch.tensor(lost, dtype=torch.bool).reshape(batch, *size, channels).movedim(-1, 1).reshape(x.shape[1:])
    return SpikeTrain(x * ~mask)


def _split_mix(x: int) -> int:
    """The output function of SplitMix64."""
    x %= 1 << 64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    x = (x ^ x >> 27) * 0x94D049BB133111EB % (1 << 64)
    return x ^ x >> 31
