"""`distinct`: the distinct spikes of pooling windows, which is what max pooling leaves of single-spike trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._base.checks import MAX_STEPS, SILENT
from ._cuda import TILE
from ._operator import INPUT, operator
from ._support import Maybe, anchor_like, array, cpu, empty, groups_of, same_shape, support_of, threads


def _forward(times: Tensor, anchor: Maybe, offset: Maybe, place: Maybe, pool: int) -> tuple[Tensor, ...]:
    left = torch.empty(times.shape, dtype=torch.uint8)
    repeated = cpu.distinct_spikes(tuple(times.shape), pool, array(times), threads(), array(left))
    return anchor_like(anchor, times), left, torch.tensor(repeated)


def _forward_cuda(times: Tensor, anchor: Maybe, offset: Maybe, place: Maybe, pool: int) -> tuple[Tensor, ...]:
    """Made of torch's functions: a pass over bytes, which is little beside the layers' own work."""
    left, firing = torch.full_like(times, SILENT), []
    windows = _units(times, pool)
    for number, unit in enumerate(windows):
        again = torch.zeros_like(unit, dtype=torch.bool)
        for before in windows[:number]:
            again |= unit == before
        kept = unit.masked_fill(again, SILENT)
        _units(left, pool)[number].copy_(kept)
        firing.append(kept != SILENT)
    return anchor_like(anchor, times), left, (torch.stack(firing).sum(0) > 1).sum()


def _forward_fake(times: Tensor, anchor: Maybe, offset: Maybe, place: Maybe, pool: int) -> tuple[Tensor, ...]:
    return anchor_like(anchor, times), torch.empty_like(times), times.new_empty((), dtype=torch.int64)


def _units(x: Tensor, pool: int) -> list[Tensor]:
    """Views [B, H // pool, W // pool, C] of maps [B, H, W, C]: the first unit of all windows, the second, row by row."""
    height, width = x.shape[1] // pool * pool, x.shape[2] // pool * pool
    return [x[:, y:height:pool, i:width:pool] for y in range(pool) for i in range(pool)]


def _backward(gradient: Tensor, left: Tensor, offset: Maybe, place: Maybe, pool: int) -> Tensor:
    gradient = gradient.contiguous()
    out = empty(gradient.shape)
    support = support_of(offset, place)
    steps = gradient.shape[0] if support is None else MAX_STEPS  # the entries' steps do not matter here
    arrays = array(gradient), array(left), support
    cpu.distinct_gradient(steps, tuple(left.shape), pool, *arrays, threads(), array(out))
    return out


def _backward_cuda(gradient: Tensor, left: Tensor, offset: Maybe, place: Maybe, pool: int) -> Tensor:
    channels = left.shape[-1]
    if offset is None or place is None:
        neuron = torch.arange(left.numel(), device=left.device).view(left.shape)
        steps = torch.arange(gradient.shape[0], device=left.device)
        return torch.stack([g.where(_stands(left, pool, neuron, t), 0) for g, t in zip(gradient, steps, strict=True)])
    groups = groups_of(1, channels, TILE)  # of a site
    entry = torch.arange(place.shape[1], device=left.device)
    group = torch.searchsorted(offset[1:], entry, right=True)
    neuron = group // groups * channels + group % groups * TILE + place[1]
    return gradient.where(_stands(left, pool, neuron, place[0]), 0)


def _stands(left: Tensor, pool: int, neuron: Tensor, step: Tensor) -> Tensor:
    """Whether each of these neurons, numbers into `left`, stands for its window in this step: see `distinct_gradient_at`."""
    _, height, width, channels = left.shape
    site, times = neuron // channels, left.flatten()
    y, x = site // width % height, site % width
    inside = (y < height // pool * pool) & (x < width // pool * pool)
    first = (y % pool == 0) & (x % pool == 0)
    others = torch.zeros_like(first)
    for place in range(1, pool * pool):
        other = neuron + (place // pool * width + place % pool) * channels
        others |= times[other.clamp(max=left.numel() - 1)] == step  # beyond the end only where no window begins
    return inside & torch.where(first, ~others, times[neuron] == step)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, _, offset, place, ctx.pool = inputs
    ctx.save_for_backward(output[1], offset, place, output[0])


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, *_: Any) -> Sequence[Tensor | None]:
    return None, distinct_backward(gradient, *saved[:-1], ctx.pool), None, None, None


# (anchor, times, repeated): of the units of each pool x pool window that fire in the same step, the first keeps its spike; units
# in no window are silent. repeated: int64 scalar, the windows, of one channel each, with spikes in more than one step.
distinct = operator(f"distinct({INPUT}, int pool) -> (Tensor anchor, Tensor left, Tensor repeated)")(
    cpu=_forward, cuda=_forward_cuda, fake=_forward_fake, save=_save, gradients=_gradients
)
# The gradient of a window and a step goes to the unit that fires in it, or to the window's first unit where none does.
distinct_backward = operator(
    "distinct_backward(Tensor gradient, Tensor left, Tensor? in_offset, Tensor? in_place, int pool) -> Tensor"
)(cpu=_backward, cuda=_backward_cuda, fake=same_shape)
