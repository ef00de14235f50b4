"""Spike trains after max pooling, in which a unit fires once per distinct time of its window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Size, Tensor, device
from torch.utils import _pytree as pytree

from .. import ops
from .._base import checks
from ..functional import layer as layer_call
from ..spikes import SpikeTimes


class PooledSpikes:
    """Max pooling of spikes [B, C, H, W] in every step: a pooled unit fires whenever one of its k x k units does.

    That may be several times, so these are no `SpikeTimes`. They are kept as the single-spike trains of the units, `distinct`
    [B, C, H, W]; of the units of a window that fire in the same step only one keeps its spike. So the maximum over a window is a
    sum, and a layer after it costs no more than after average pooling (docs/model.md, section "Pooling").

    spikes: SpikeTimes [B, C, H, W]. kernel_size: k, at least 1 and at most H and W; the stride is k, and what is left over at the
    lower and right edge is dropped. `repeated`: int64 scalar, the pooled units that fire more than once. The gradient of a window
    and a step goes to its first unit (row by row) that fires in it, or to the window's first unit where none does, as in
    `torch.nn.functional.max_pool2d`. Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> spikes = SpikeTimes(torch.tensor([[[[3, 1], [255, 3]]]], dtype=torch.uint8), steps=4)
        >>> pooled = nn.PooledSpikes(spikes, 2)
        >>> pooled.dense().flatten(), pooled.distinct.times.flatten()
        (tensor([0., 1., 0., 1.]), tensor([  3,   1, 255, 255], dtype=torch.uint8))
    """

    distinct: SpikeTimes
    kernel_size: int
    repeated: Tensor

    def __init__(self, spikes: SpikeTimes, kernel_size: int) -> None:
        self.kernel_size = k = checks.integer("kernel_size", kernel_size, 1)
        check_map(spikes, k)
        anchor, left, self.repeated = ops.distinct.distinct(*layer_call._input(spikes), k)
        self.distinct = layer_call._thinned(spikes, anchor, left)

    @property
    def steps(self) -> int:
        """The number of time steps T."""
        return self.distinct.steps

    @property
    def shape(self) -> Size:
        """[B, C, H // k, W // k]."""
        batch, channels, height, width = self.distinct.shape
        return Size((batch, channels, height // self.kernel_size, width // self.kernel_size))

    @property
    def device(self) -> device:
        """Device of the spikes."""
        return self.distinct.device

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows to whatever made these spikes."""
        return self.distinct.requires_grad

    def __len__(self) -> int:
        return len(self.distinct)

    def dense(self) -> Tensor:
        """The pooled train as float32 [T, B, C, H // k, W // k], ones at the spikes; differentiable."""
        dense, k = self.distinct.dense(), self.kernel_size
        return torch.unflatten(F.avg_pool2d(dense.flatten(0, 1), k, divisor_override=1), 0, dense.shape[:2])

    def flatten(self, start_dim: int = 1, end_dim: int = -1) -> Tensor:
        """The pooled train as float32 [T, B, C (H // k) (W // k)], for `torch.nn.Flatten()`; other dimensions are refused."""
        if (start_dim, end_dim) not in ((1, -1), (1, 3)):
            raise ValueError(f"start_dim and end_dim must be 1 and -1: the batch stays, got {start_dim} and {end_dim}")
        return self.dense().flatten(2)

    def detach(self) -> PooledSpikes:
        """The same spikes, cut from the graph."""
        return self._with(self.distinct.detach())

    def _with(self, distinct: SpikeTimes) -> PooledSpikes:
        """Other spikes in place of these, of which no two in a window are at the same step."""
        return self._of((distinct, self.repeated), self.kernel_size)

    @classmethod
    def _of(cls, parts: Iterable[Any], kernel_size: int) -> PooledSpikes:
        """Of spikes and a count that an operator made."""
        made = cls.__new__(cls)
        made.distinct, made.repeated = parts
        made.kernel_size = kernel_size
        return made

    def __repr__(self) -> str:
        return f"PooledSpikes(shape={tuple(self.shape)}, steps={self.steps}, requires_grad={self.requires_grad})"


pytree.register_pytree_node(
    PooledSpikes,
    lambda pooled: ([pooled.distinct, pooled.repeated], pooled.kernel_size),
    PooledSpikes._of,
    serialized_type_name="firstspike.nn.PooledSpikes",
)


def check_map(spikes: SpikeTimes, kernel_size: int) -> None:
    """Raise unless `spikes` are maps that have a window of this size."""
    checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes")
    if len(spikes.shape) != 4 or min(spikes.shape[2:]) < kernel_size:
        raise ValueError(
            f"spikes must be maps [batch, channels, height, width] of at least {kernel_size} x {kernel_size}, "
            f"got {tuple(spikes.shape)}"
        )
