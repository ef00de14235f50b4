"""`dropout`: drops spikes at random; which ones is a function of a seed and the neurons' places (cpp/core/dropout_mask.h)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._base.checks import MAX_STEPS
from ._cuda import TILE, Arguments, kernels, on_device, pointer
from ._operator import INPUT, operator
from ._support import anchor_like, array, cpu, empty, groups_of, support_of, threads

DROPOUT_LEVELS = 65536  # `keep` is out of so many


def levels(share: float) -> int:
    """`keep` for the share of spikes that stay, 0 to 1."""
    return round(share * DROPOUT_LEVELS)


class Forward(NamedTuple):
    """The arguments of `dropout` in the order of its schema."""

    times: Tensor
    anchor: Tensor | None
    in_offset: Tensor | None
    in_place: Tensor | None
    seed: Tensor
    keep: int


class Backward(NamedTuple):
    """The arguments of `dropout_backward` in the order of its schema."""

    gradient: Tensor
    in_offset: Tensor | None
    in_place: Tensor | None
    seed: Tensor
    shape: Sequence[int]
    keep: int

    @property
    def steps(self) -> int:
        """Those of a dense gradient; for entries, whose steps do not matter here, the most that there are."""
        return self.gradient.shape[0] if self.in_place is None else MAX_STEPS


def _sizes(shape: Sequence[int]) -> tuple[int, int]:
    """Sites and channels of times [B, H, W, C]."""
    return math.prod(shape[:-1]), shape[-1]


def _forward(*arguments: Any) -> tuple[Tensor, Tensor]:
    a = Forward(*arguments)
    left = torch.empty(a.times.shape, dtype=torch.uint8)
    cpu.drop_spikes(*_sizes(a.times.shape), array(a.times), array(a.seed), a.keep, threads(), array(left))
    return anchor_like(a.anchor, a.times), left


def _forward_cuda(*arguments: Any) -> tuple[Tensor, Tensor]:
    a = Forward(*arguments)
    left, at = torch.empty_like(a.times), Arguments(a.times.device)
    times, seed = at.bytes("times", a.times, a.times.numel()), at.integers("seed", a.seed, 1)
    with on_device(a.times) as stream:
        kernels().drop_spikes(*_sizes(a.times.shape), times, seed, a.keep, pointer(left), stream)
    return anchor_like(a.anchor, a.times), left


def _forward_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    a = Forward(*arguments)
    return anchor_like(a.anchor, a.times), torch.empty_like(a.times)


def _backward(*arguments: Any) -> Tensor:
    a = Backward(*arguments)
    gradient, support = a.gradient.contiguous(), support_of(a.in_offset, a.in_place)
    left = empty(gradient.shape)
    arrays = array(gradient), support, array(a.seed)
    cpu.drop_gradient(a.steps, *_sizes(a.shape), *arrays, a.keep, threads(), array(left))
    return left


def _backward_cuda(*arguments: Any) -> Tensor:
    a = Backward(*arguments)
    gradient, at, sizes = a.gradient.contiguous(), Arguments(a.gradient.device), _sizes(a.shape)
    left, size = torch.empty_like(gradient), gradient.shape[0] * math.prod(sizes)
    support: tuple[int, ...] = (0, 0, 0)
    if a.in_offset is not None and a.in_place is not None:
        support, size = at.support(a.in_offset, a.in_place, groups_of(*sizes, TILE)), a.in_place.shape[1]
    arrays = at.floats("gradient", gradient, size), support, at.integers("seed", a.seed, 1)
    with on_device(gradient) as stream:
        kernels().drop_gradient(a.steps, *sizes, *arrays, a.keep, pointer(left), stream)
    return left


def _backward_fake(*arguments: Any) -> Tensor:
    gradient = Backward(*arguments).gradient
    return gradient.new_empty(gradient.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    a = Forward(*inputs)
    ctx.shape, ctx.keep = a.times.shape, a.keep
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(a.in_offset, a.in_place, a.seed, output[0])


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    return None, dropout_backward(gradient, *saved[:-1], ctx.shape, ctx.keep), None, None, None, None


# (anchor, times) of the spikes that stay, `keep` of `DROPOUT_LEVELS` on average. seed: int64 [1].
dropout = operator(
    f"dropout({INPUT}, Tensor seed, int keep) -> (Tensor anchor, Tensor left)",
    cpu=_forward,
    cuda=_forward_cuda,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
)
dropout_backward = operator(
    "dropout_backward(Tensor gradient, Tensor? in_offset, Tensor? in_place, Tensor seed, SymInt[] shape, int keep)"
    " -> Tensor",
    cpu=_backward,
    cuda=_backward_cuda,
    fake=_backward_fake,
)
