"""Pooling that selects: the earliest spike, and the maximum, which breaks the single spike."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .. import ops
from .._base import checks
from .._base.geometry import from_sites
from ..functional import layer as layer_call
from ..spikes import SpikeTimes, Support
from .pooled_spikes import PooledSpikes, check_map


class EarliestPool2d(nn.Module):
    """Pooling by the earliest spike of each k x k window: the minimum of the times, so that single spikes stay single.

    A window of silent units is silent. Of equal times the upper left unit wins (row by row), and the gradient goes to
    the winner alone. Stride k; what is left over at the lower and right edge is dropped.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> spikes = SpikeTimes(torch.tensor([[[[3, 1], [255, 2]]]], dtype=torch.uint8), steps=4)
        >>> EarliestPool2d(2)(spikes).times.flatten()
        tensor([1], dtype=torch.uint8)
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = checks.integer("kernel_size", kernel_size, 1)

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        """Spike times [B, C, H // k, W // k] of `spikes` [B, C, H, W]."""
        k = self.kernel_size
        check_map(spikes, k)
        if spikes.device.type != "cpu" or k > ops.earliest.WIDEST or (spikes.requires_grad and spikes._support is None):
            return _earliest_dense(spikes, k)
        anchor, times, offset, place, _ = ops.earliest.earliest_pool(*layer_call._input(spikes), k)
        pooled = from_sites(times, (*spikes.shape[:2], *times.shape[1:3]))
        if spikes._support is None:
            return SpikeTimes._trusted(pooled, spikes.steps)
        return SpikeTimes._trusted(pooled, spikes.steps, anchor, Support(offset, anchor.new_empty(0), place))

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"kernel_size": self.kernel_size}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{self.kernel_size}"


class MaxPool2d(nn.Module):
    """Max pooling in every step, for comparison: a pooled unit fires whenever one of its k x k units does.

    That may be several times, so what it returns are `PooledSpikes`; the layers take them, and are as fast as after average
    pooling. Buffers of the last forward, int64 scalars, not in the state_dict: `repeated`, the pooled units that fired more than
    once, and `units`, all pooled units. Stride k; what is left over at the lower and right edge is dropped.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> spikes = SpikeTimes(torch.tensor([[[[3, 1], [255, 3]]]], dtype=torch.uint8), steps=4)
        >>> MaxPool2d(2)(spikes).dense().flatten()  # fires twice
        tensor([0., 1., 0., 1.])
    """

    repeated: Tensor
    units: Tensor

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = checks.integer("kernel_size", kernel_size, 1)
        self.register_buffer("repeated", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("units", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, spikes: SpikeTimes) -> PooledSpikes:
        """The pooled spikes, [B, C, H // k, W // k], of `spikes` [B, C, H, W]."""
        pooled = PooledSpikes(spikes, self.kernel_size)
        self.repeated.copy_(pooled.repeated)
        self.units.fill_(math.prod(pooled.shape))
        return pooled

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"kernel_size": self.kernel_size}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{self.kernel_size}"


def _earliest_dense(spikes: SpikeTimes, k: int) -> SpikeTimes:
    """Earliest pooling made of torch's functions; a gradient takes dense trains."""
    area = k**2
    place = torch.arange(area, device=spikes.device)
    key = (_windows(spikes.times, k).long() * area + place).amin(-1)  # by time, then by place
    if not spikes.requires_grad:
        return SpikeTimes._trusted(torch.div(key, area, rounding_mode="floor").to(torch.uint8), spikes.steps)
    winner = (key % area)[None, ..., None].expand(spikes.steps, *key.shape, 1)
    return SpikeTimes._of_fired(_windows(spikes.dense(), k).gather(-1, winner).squeeze(-1))


def _windows(x: Tensor, k: int) -> Tensor:
    """[..., H, W] to [..., H // k, W // k, k k]: the elements of each window, row by row."""
    height, width = x.shape[-2] // k, x.shape[-1] // k
    x = x[..., : height * k, : width * k].unflatten(-1, (width, k)).unflatten(-3, (height, k))
    return x.transpose(-3, -2).flatten(-2)
