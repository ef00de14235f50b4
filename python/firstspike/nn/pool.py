"""Pooling that selects: the earliest spike, and the maximum, which breaks the single spike."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Size, Tensor
from torch.utils import _pytree as pytree

from .. import ops
from .._base import checks
from .._base.geometry import from_sites
from ..functional.layer import input_of, thinned
from ..functional.windowed import earliest_of, encoded, windowed_values
from ..spikes import SpikeTimes, Support
from .settings import Settings


class PooledSpikes:
    """Spikes after max pooling in every step: a pooled unit fires whenever one of its k x k units does.

    That may be several times, so they are not `SpikeTimes`. They are stored as the single-spike trains of the units, `distinct`
    [B, C, H, W]; of the units of a window that fire in the same step only one keeps its spike. The maximum over a window is then
    a sum, and the next layer costs no more than after average pooling (docs/model.md, section "Pooling").

    The gradient of a window and a step goes to the first unit (row by row) that fires in it, or to the first unit if none does,
    as in `torch.nn.functional.max_pool2d`.

    Parameters
    ----------
    spikes : SpikeTimes [B, C, H, W].
    kernel_size : k, at most H and W; the stride is k, and a remainder at the lower and right edge is dropped.

    Attributes
    ----------
    repeated : int64 scalar, the number of pooled units that fire more than once.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[[[3, 1], [255, 3]]]], dtype=torch.uint8), steps=4)
    >>> pooled = nn.PooledSpikes(spikes, 2)
    >>> pooled.dense().flatten(), pooled.distinct.times.flatten()
    (tensor([0., 1., 0., 1.]), tensor([  3,   1, 255, 255], dtype=torch.uint8))
    """

    distinct: SpikeTimes
    kernel_size: int
    repeated: Tensor

    def __init__(self, spikes: SpikeTimes, kernel_size: int) -> None:
        self.kernel_size = k = checks.size("kernel_size", kernel_size)
        _check_map(spikes, k)
        anchor, left, self.repeated = ops.distinct.distinct(*input_of(spikes), k)
        self.distinct = thinned(spikes, anchor, left)

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
    def requires_grad(self) -> bool:
        """Whether a gradient flows to the layer that fired."""
        return self.distinct.requires_grad

    def dense(self) -> Tensor:
        """Return the pooled train as float32 [T, B, C, H // k, W // k], ones at the spikes; differentiable."""
        dense, k = self.distinct.dense(), self.kernel_size
        return torch.unflatten(F.avg_pool2d(dense.flatten(0, 1), k, divisor_override=1), 0, dense.shape[:2])

    def flatten(self, start_dim: int = 1, end_dim: int = -1) -> Tensor:
        """Return the pooled train as float32 [T, B, C (H // k) (W // k)], for `torch.nn.Flatten()`."""
        if (start_dim, end_dim) not in ((1, -1), (1, 3)):
            raise ValueError(f"start_dim and end_dim must be 1 and -1: the batch stays, got {start_dim} and {end_dim}")
        return self.dense().flatten(2)

    def detach(self) -> PooledSpikes:
        """Return the same spikes, cut from the graph."""
        return self._with(self.distinct.detach())

    def _with(self, distinct: SpikeTimes) -> PooledSpikes:
        """Other spikes in place of these, of which no two in a window are at the same step."""
        return self._of((distinct, self.repeated), self.kernel_size)

    @classmethod
    def _of(cls, parts: Iterable[Any], kernel_size: int) -> PooledSpikes:
        pooled = cls.__new__(cls)
        pooled.distinct, pooled.repeated = parts
        pooled.kernel_size = kernel_size
        return pooled

    def __repr__(self) -> str:
        return f"PooledSpikes(shape={tuple(self.shape)}, steps={self.steps}, requires_grad={self.requires_grad})"


pytree.register_pytree_node(
    PooledSpikes,
    lambda pooled: ([pooled.distinct, pooled.repeated], pooled.kernel_size),
    PooledSpikes._of,
    serialized_type_name="firstspike.nn.PooledSpikes",
)


class _Pool(Settings):
    """Pooling of windows without overlap; a remainder at the lower and right edge is dropped. kernel_size: k, or a pair."""

    def __init__(self, kernel_size: int | tuple[int, int]) -> None:
        super().__init__()
        rows, columns = checks.pair("kernel_size", kernel_size, 1)
        self.kernel_size = rows if rows == columns else (rows, columns)


class EarliestPool2d(_Pool):
    """Pooling by the earliest spike of each window: the minimum of the times, so that single spikes stay single.

    A window of silent units is silent. Of equal times the first unit (row by row) wins, and the gradient goes to the winner.

    Parameters
    ----------
    kernel_size : k, or (rows, columns), whose gradient takes dense trains in step-by-step nets. A remainder at the lower and
        right edge is dropped.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[[[3, 1], [255, 2]]]], dtype=torch.uint8), steps=4)
    >>> EarliestPool2d(2)(spikes).times.flatten()
    tensor([1], dtype=torch.uint8)
    """

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        """Return spike times [B, C, H // rows, W // columns] of `spikes` [B, C, H, W]."""
        k = self.kernel_size
        _check_map(spikes, k)
        if isinstance(k, tuple):
            if spikes._is_valued():
                return encoded(F.max_pool2d(windowed_values(spikes), k), spikes.steps)
            return _earliest_dense(spikes, k)
        if spikes._is_valued():
            return earliest_of(spikes, k)
        if spikes.device.type != "cpu" or k > ops.earliest.WIDEST or (spikes.requires_grad and spikes._support is None):
            return _earliest_dense(spikes, k)
        anchor, times, offset, place, _ = ops.earliest.earliest_pool(*input_of(spikes), k)
        pooled = from_sites(times, (*spikes.shape[:2], *times.shape[1:3]))
        if spikes._support is None:
            return SpikeTimes._trusted(pooled, spikes.steps)
        return SpikeTimes._trusted(pooled, spikes.steps, anchor, Support(offset, anchor.new_empty(0), place))


class MaxPool2d(_Pool):
    """Max pooling in every step, for comparison: a pooled unit fires whenever one of the units of its window does.

    That may be several times, so it returns `PooledSpikes`, which the layers take; with windows that are not square, a dense
    train.

    Parameters
    ----------
    kernel_size : k, or (rows, columns). A remainder at the lower and right edge is dropped.

    Attributes
    ----------
    repeated, units : buffers of the last forward, int64 scalars, not in the state_dict: the pooled units that fired more than
        once, and all pooled units.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[[[3, 1], [255, 3]]]], dtype=torch.uint8), steps=4)
    >>> MaxPool2d(2)(spikes).dense().flatten()  # fires twice
    tensor([0., 1., 0., 1.])
    """

    timing = "step"
    repeated: Tensor
    units: Tensor

    def __init__(self, kernel_size: int | tuple[int, int]) -> None:
        super().__init__(kernel_size)
        self.register_buffer("repeated", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("units", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, spikes: SpikeTimes) -> PooledSpikes | Tensor:
        """Return the pooled spikes, [B, C, H // rows, W // columns], of `spikes` [B, C, H, W]; dense ones have T before it."""
        k = self.kernel_size
        if isinstance(k, tuple):
            _check_map(spikes, k)
            dense = spikes.dense()
            train = torch.unflatten(F.max_pool2d(dense.flatten(0, 1), k), 0, dense.shape[:2])
            self.repeated.copy_((train.detach().sum(0) > 1).sum())
            self.units.fill_(train[0].numel())
            return train
        pooled = PooledSpikes(spikes, k)
        self.repeated.copy_(pooled.repeated)
        self.units.fill_(math.prod(pooled.shape))
        return pooled


def _check_map(spikes: SpikeTimes, kernel_size: int | tuple[int, int]) -> None:
    checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes")
    rows, columns = checks.pair("kernel_size", kernel_size, 1)
    if len(spikes.shape) != 4 or spikes.shape[2] < rows or spikes.shape[3] < columns:
        raise ValueError(
            f"spikes must be maps [batch, channels, height, width] of at least {rows} x {columns}, got {tuple(spikes.shape)}"
        )


def _earliest_dense(spikes: SpikeTimes, k: int | tuple[int, int]) -> SpikeTimes:
    """Earliest pooling by torch's functions; a gradient takes dense trains."""
    times, winner = F.max_pool2d(-spikes.times.float(), k, return_indices=True)
    if not spikes.requires_grad:
        return SpikeTimes._trusted(times.neg().to(torch.uint8), spikes.steps)
    units = winner.flatten(2).expand(spikes.steps, -1, -1, -1)
    return SpikeTimes._of_fired(spikes.dense().flatten(3).gather(-1, units).unflatten(-1, winner.shape[2:]))
