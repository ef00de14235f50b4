"""Spikes side by side, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial, reduce

import torch
from torch import Tensor

from . import _checks
from ._sites import to_sites
from .ops import anchors as _anchors
from .ops._library import TILES, groups_of
from .spikes import SpikeTimes, Support


def cat(trains: Sequence[SpikeTimes], dim: int = 1) -> SpikeTimes:
    """Spikes side by side, as `torch.cat`: by default the neurons or channels of each sample. Each train gets its gradient.

    Use it instead of `torch.cat` on the `times`, which loses the gradients without an error: bytes carry none.
    The current of a layer on joined trains is the sum of one product per train.
    trains: at least one; all with the same steps, device and shape, except for the size of dimension `dim` (0 is the batch).
    On the CPU the gradients of sparse surrogates stay sparse for dim = 0, and for dim = 1 where all trains but the last have a
    multiple of 64 channels (16 where `backends()` gives 4 lanes); else they become dense.
    Raises TypeError or ValueError naming what does not fit.

    Examples:
        >>> left, right = SpikeTimes(torch.tensor([[0, 3]], dtype=torch.uint8), 4), SpikeTimes(torch.tensor([[255]]).byte(), 4)
        >>> cat([left, right]).times
        tensor([[  0,   3, 255]], dtype=torch.uint8)
        >>> spikes = SpikeTimes(torch.tensor([[0, 255]], dtype=torch.uint8), steps=4)
        >>> cat([spikes, spikes], dim=1).times
        tensor([[  0, 255,   0, 255]], dtype=torch.uint8)
    """
    if not isinstance(trains, (list, tuple)) or not trains:
        raise TypeError(f"trains must be a list of SpikeTimes, got {_checks.shown(trains)}")
    for train in trains:
        _checks.instance("trains", train, SpikeTimes, "a list of SpikeTimes")
    first: SpikeTimes = trains[0]
    dims = first.times.dim()
    dim = _checks.integer("dim", dim, -dims, dims - 1) % dims
    for train in trains[1:]:
        shapes = [[n for d, n in enumerate(each.shape) if d != dim] for each in (first, train)]
        if train.times.dim() != dims or shapes[0] != shapes[1]:
            raise ValueError(
                f"trains must have the same shape but for dimension {dim}, got {tuple(first.shape)} and {tuple(train.shape)}"
            )
        if train.steps != first.steps:
            raise ValueError(
                f"trains must have the same steps, got {first.steps} and {train.steps}; rescale() changes them"
            )
        _checks.same_device("trains", first.times, "one of them", train.times)
    if len(trains) > 1 and all(train._anchor is None for train in trains):
        return SpikeTimes._trusted(torch.cat([train.times for train in trains], dim), first.steps)
    made: SpikeTimes = reduce(partial(_joined, dim), trains)
    return made


def _joined(dim: int, one: SpikeTimes, other: SpikeTimes) -> SpikeTimes:
    times = torch.cat([one.times, other.times], dim)
    if one._anchor is None and other._anchor is None:
        return SpikeTimes._trusted(times, one.steps)
    if _has_groups(one, dim) and _has_groups(other, 0):
        tile, sides = TILES["cpu"], []
        for side in (one, other):
            *sites, channels = to_sites(side.times).shape
            groups = groups_of(math.prod(sites) if dim == 0 else 1, channels, tile)
            sides.append((*_support_of(side, groups_of(math.prod(sites), channels, tile)), groups))
        (a, a_offset, a_place, a_groups), (b, b_offset, b_place, b_groups) = sides
        anchor, offset, place, *_ = _anchors.cat_supports(
            a, a_offset, a_place, b, b_offset, b_place, a_groups, b_groups
        )
        return SpikeTimes._trusted(times, one.steps, anchor, Support(offset, anchor.new_empty(0), place))
    dense = [side._dense_anchor() for side in (one, other)]
    zero = torch.zeros((), dtype=torch.float32, device=times.device)
    a, b = (
        zero.expand(one.steps, *side.shape) if anchor is None else anchor
        for side, anchor in zip((one, other), dense, strict=True)
    )
    return SpikeTimes._trusted(times, one.steps, _anchors.cat_anchors(a, b, dim + 1))


def _has_groups(train: SpikeTimes, dim: int) -> bool:
    """Whether the train has a sparse gradient or none, and another train's entries can follow its own along `dim`."""
    if train.device.type != "cpu" or dim > 1 or (train._anchor is not None and train._support is None):
        return False
    return dim == 0 or to_sites(train.times).shape[-1] % TILES["cpu"] == 0


def _support_of(train: SpikeTimes, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """(anchor, offset, place) of a train, without entries where it has no gradient."""
    if train._anchor is not None and train._support is not None:
        return train._anchor, train._support.offset, train._support.place
    place = torch.empty((2, 0), dtype=torch.uint8, device=train.device)
    anchor, offset = place.new_empty(0, dtype=torch.float32), place.new_zeros(groups + 1, dtype=torch.int64)
    return anchor, offset, place
