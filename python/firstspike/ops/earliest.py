"""`earliest_pool`: the earliest spike of pooling windows, whose gradient stays at the support of the units that won."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._operator import INPUT, operator
from ._support import Maybe, array, cpu, data_dependent_size, support_of, threads

WIDEST = 16  # windows of more than WIDEST x WIDEST units the kernel does not take


def _forward(times: Tensor, anchor: Maybe, offset: Maybe, place: Maybe, pool: int) -> tuple[Tensor, ...]:
    batch, height, width, channels = times.shape
    pooled = torch.empty((batch, height // pool, width // pool, channels), dtype=torch.uint8)
    winner = torch.empty_like(pooled)
    sizes = tuple(times.shape)
    cpu.earliest_times(sizes, pool, array(times), threads(), array(pooled), array(winner))
    if offset is None or place is None:
        return torch.empty(0, dtype=torch.float32), pooled, *_no_entries(times)
    support = cpu.earliest_support(sizes, pool, array(winner), support_of(offset, place), threads())
    offset, place, source = map(torch.from_numpy, support)
    return torch.zeros((), dtype=torch.float32).expand(source.shape), pooled, offset, place, source


def _forward_fake(times: Tensor, anchor: Maybe, offset: Maybe, place: Maybe, pool: int) -> tuple[Tensor, ...]:
    batch, height, width, channels = times.shape
    pooled = times.new_empty((batch, height // pool, width // pool, channels))
    if offset is None or place is None:
        return times.new_empty(0, dtype=torch.float32), pooled, *_no_entries(times)
    groups = (offset.shape[0] - 1) // (height * width) * (height // pool) * (width // pool)
    entries = 0 if times.device.type == "meta" else data_dependent_size()
    return (
        times.new_zeros((), dtype=torch.float32).expand(entries),
        pooled,
        offset.new_empty(groups + 1),
        place.new_empty((2, entries)),
        offset.new_empty(entries),
    )


def _no_entries(like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    integers = like.new_empty(0, dtype=torch.int64)
    return integers, like.new_empty((2, 0)), torch.empty_like(integers)


def _backward(gradient: Tensor, source: Tensor, in_place: Tensor) -> Tensor:
    return gradient.new_zeros(in_place.shape[1]).index_copy_(0, source, gradient.contiguous())


def _backward_fake(gradient: Tensor, source: Tensor, in_place: Tensor) -> Tensor:
    return gradient.new_empty(in_place.shape[1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(output[4], inputs[3], output[0])


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    source, place, _ = saved
    at_anchor = None if place is None else earliest_pool_backward(gradient, source, place)
    return None, at_anchor, None, None, None


# (anchor, times, offset, place, source): the times of the windows and, where the units have a support, the windows'.
# source: int64, which of the units' entries each entry is. For the CPU alone, windows of at most WIDEST x WIDEST units.
earliest_pool = operator(
    f"earliest_pool({INPUT}, int pool) -> (Tensor anchor, Tensor pooled, Tensor offset, Tensor place, Tensor source)"
)(cpu=_forward, fake=_forward_fake, save=_save, gradients=_gradients)
earliest_pool_backward = operator("earliest_pool_backward(Tensor gradient, Tensor source, Tensor in_place) -> Tensor")(
    cpu=_backward, fake=_backward_fake
)
