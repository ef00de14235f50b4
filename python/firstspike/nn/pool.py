"""Pooling that selects: the earliest spike, and the maximum, which breaks the single spike."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import _checks
from ..spikes import SpikeTimes
from ._hooks import BackwardHooks


class EarliestPool2d(BackwardHooks):
    """Pooling by the earliest spike of each k x k window: the minimum of the times, so that single spikes stay single.

    A window of silent units is silent. Of equal times the upper left unit wins (row by row), and the gradient goes to
    the winner alone. Stride k; what is left over at the lower and right edge is dropped.

    Examples:
        >>> spikes = SpikeTimes(torch.tensor([[[[3, 1], [255, 2]]]], dtype=torch.uint8), steps=4)
        >>> EarliestPool2d(2)(spikes).times.flatten()
        tensor([1], dtype=torch.uint8)
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = _checks.integer("kernel_size", kernel_size, 1)

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        """Spike times [B, C, H // k, W // k] of `spikes` [B, C, H, W]."""
        _check_map(spikes, self.kernel_size)
        area = self.kernel_size**2
        place = torch.arange(area, device=spikes.device)
        key = (_windows(spikes.times, self.kernel_size).long() * area + place).amin(-1)  # by time, then by place
        if not spikes.requires_grad:
            return SpikeTimes(torch.div(key, area, rounding_mode="floor").to(torch.uint8), spikes.steps)
        winner = (key % area)[None, ..., None].expand(spikes.steps, *key.shape, 1)
        return SpikeTimes.from_dense(_windows(spikes.dense(), self.kernel_size).gather(-1, winner).squeeze(-1))

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"kernel_size": self.kernel_size}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{self.kernel_size}"


class MaxPool2d(nn.Module):
    """Max pooling in every step, for comparison: a pooled unit fires whenever one of its k x k units does.

    That is no longer a single-spike train: it comes as a dense one, and the next layer computes on its dense path, T
    passes over its weights. Buffers of the last forward, int64 scalars, not in the state_dict: `repeated`, the pooled
    units that fired more than once, and `units`, all pooled units. Stride k; what is left over at the lower and right
    edge is dropped.

    Examples:
        >>> spikes = SpikeTimes(torch.tensor([[[[3, 1], [255, 3]]]], dtype=torch.uint8), steps=4)
        >>> MaxPool2d(2)(spikes).flatten()  # fires twice
        tensor([0., 1., 0., 1.])
    """

    repeated: Tensor
    units: Tensor

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = _checks.integer("kernel_size", kernel_size, 1)
        self.register_buffer("repeated", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("units", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, spikes: SpikeTimes) -> Tensor:
        """Dense train, float32 [T, B, C, H // k, W // k], of `spikes` [B, C, H, W]."""
        _check_map(spikes, self.kernel_size)
        dense = spikes.dense()
        pooled = torch.unflatten(F.max_pool2d(dense.flatten(0, 1), self.kernel_size), 0, dense.shape[:2])
        with torch.no_grad():
            self.repeated.copy_((pooled.sum(0) > 1).sum())
            self.units.fill_(pooled[0].numel())
        return pooled

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"kernel_size": self.kernel_size}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{self.kernel_size}"


def _check_map(spikes: SpikeTimes, kernel: int) -> None:
    _checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes")
    if len(spikes.shape) != 4 or min(spikes.shape[2:]) < kernel:
        raise ValueError(
            f"spikes must be maps [batch, channels, height, width] of at least {kernel} x {kernel}, "
            f"got {tuple(spikes.shape)}"
        )


def _windows(x: Tensor, k: int) -> Tensor:
    """[..., H, W] to [..., H // k, W // k, k k]: the elements of each window, row by row."""
    height, width = x.shape[-2] // k, x.shape[-1] // k
    x = x[..., : height * k, : width * k].unflatten(-1, (width, k)).unflatten(-3, (height, k))
    return x.transpose(-3, -2).flatten(-2)
