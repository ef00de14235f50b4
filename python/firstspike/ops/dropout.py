"""`dropout`: drops spikes at random; which ones is a function of a seed and the neurons' places (cpp/core/dropout_mask.h)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._base.checks import MAX_STEPS
from ._cuda import TILE, Arguments, kernels, on_device, pointer
from ._operator import INPUT, operator
from ._support import Maybe, anchor_like, array, cpu, empty, groups_of, same_shape, support_of, threads

DROPOUT_LEVELS = 65536  # `keep` is out of so many


def levels(share: float) -> int:
    """`keep` for the share of spikes that stay, 0 to 1."""
    return round(share * DROPOUT_LEVELS)


def _sizes(shape: Sequence[int]) -> tuple[int, int]:
    """Sites and channels of times [B, H, W, C]."""
    return math.prod(shape[:-1]), shape[-1]


def _steps(gradient: Tensor, place: Tensor | None) -> int:
    """The steps of a dense gradient; for entries, whose steps do not matter here, the most that there are."""
    return gradient.shape[0] if place is None else MAX_STEPS


def _forward(times: Tensor, anchor: Maybe, offset: Maybe, place: Maybe, seed: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    left = torch.empty(times.shape, dtype=torch.uint8)
    cpu.drop_spikes(*_sizes(times.shape), array(times), array(seed), keep, threads(), array(left))
    return anchor_like(anchor, times), left


def _forward_cuda(times: Tensor, anchor: Maybe, offset: Maybe, place: Maybe, seed: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    left, at = torch.empty_like(times), Arguments(times.device)
    source = at.bytes("times", times, times.numel()), at.integers("seed", seed, 1)
    with on_device(times) as stream:
        kernels().drop_spikes(*_sizes(times.shape), *source, keep, pointer(left), stream)
    return anchor_like(anchor, times), left


def _backward(gradient: Tensor, offset: Maybe, place: Maybe, seed: Tensor, shape: Sequence[int], keep: int) -> Tensor:
    gradient, left = gradient.contiguous(), empty(gradient.shape)
    arrays = array(gradient), support_of(offset, place), array(seed)
    cpu.drop_gradient(_steps(gradient, place), *_sizes(shape), *arrays, keep, threads(), array(left))
    return left


def _backward_cuda(gradient: Tensor, offset: Maybe, place: Maybe, seed: Tensor, shape: Sequence[int], keep: int) -> Tensor:
    gradient, at, sizes = gradient.contiguous(), Arguments(gradient.device), _sizes(shape)
    left, size = torch.empty_like(gradient), gradient.shape[0] * math.prod(sizes)
    support: tuple[int, ...] = (0, 0, 0)
    if offset is not None and place is not None:
        support, size = at.support(offset, place, groups_of(*sizes, TILE)), place.shape[1]
    arrays = at.floats("gradient", gradient, size), support, at.integers("seed", seed, 1)
    with on_device(gradient) as stream:
        kernels().drop_gradient(_steps(gradient, place), *sizes, *arrays, keep, pointer(left), stream)
    return left


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    times, _, offset, place, seed, ctx.keep = inputs
    ctx.shape = times.shape
    ctx.save_for_backward(offset, place, seed, output[0])


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    return None, dropout_backward(gradient, *saved[:-1], ctx.shape, ctx.keep), None, None, None, None


# (anchor, times) of the spikes that stay, `keep` of `DROPOUT_LEVELS` on average. seed: int64 [1].
dropout = operator(f"dropout({INPUT}, Tensor seed, int keep) -> (Tensor anchor, Tensor left)")(
    cpu=_forward,
    cuda=_forward_cuda,
    fake=lambda times, anchor, *_: (anchor_like(anchor, times), torch.empty_like(times)),
    save=_save,
    gradients=_gradients,
)
dropout_backward = operator(
    "dropout_backward(Tensor gradient, Tensor? in_offset, Tensor? in_place, Tensor seed, SymInt[] shape, int keep) -> Tensor"
)(cpu=_backward, cuda=_backward_cuda, fake=same_shape)
