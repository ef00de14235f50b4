"""Dense trains to spike times and back, and the anchors that carry their gradients.

All tensors are in site order: times [B, H, W, C], trains and dense anchors [T, B, H, W, C].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._cuda import TILE, Arguments, kernels, on_device, pointer
from ._operator import operator
from ._support import array, cpu, groups_of, support_of, threads


def _from_dense(x: Tensor) -> tuple[Tensor, Tensor]:
    times = torch.empty(x.shape[1:], dtype=torch.uint8)
    cpu.times_from_dense(x.shape[0], times.numel(), array(x), threads(), array(times))
    return torch.zeros((), dtype=torch.float32).expand(x.shape), times


def _from_dense_cuda(x: Tensor) -> tuple[Tensor, Tensor]:
    times = torch.empty(x.shape[1:], dtype=torch.uint8, device=x.device)
    with on_device(x) as stream:
        spikes = Arguments(x.device).floats("x", x, x.shape[0] * times.numel())
        kernels().times_from_dense(x.shape[0], times.numel(), spikes, pointer(times), stream)
    return torch.zeros((), dtype=torch.float32, device=x.device).expand(x.shape), times


def _from_dense_fake(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_zeros(()).expand(x.shape), x.new_empty(x.shape[1:], dtype=torch.uint8)


def _dense(times: Tensor, anchor: Tensor | None, steps: int) -> Tensor:
    x = torch.empty((steps, *times.shape), dtype=torch.float32)
    cpu.dense_from_times(steps, times.numel(), array(times), threads(), array(x))
    return x


def _dense_cuda(times: Tensor, anchor: Tensor | None, steps: int) -> Tensor:
    x = torch.empty((steps, *times.shape), dtype=torch.float32, device=times.device)
    with on_device(times) as stream:
        at = Arguments(times.device).bytes("times", times, times.numel())
        kernels().dense_from_times(steps, times.numel(), at, pointer(x), stream)
    return x


def _dense_anchor(anchor: Tensor, offset: Tensor, place: Tensor, shape: list[int]) -> Tensor:
    return anchor.new_zeros(()).expand(shape)


def _dense_anchor_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    anchor, *support, _ = inputs
    ctx.save_for_backward(*support, anchor)


def _dense_anchor_gradient(ctx: Any, saved: Sequence[Any], gradient: Tensor) -> tuple[Tensor | None, ...]:
    offset, place, _ = saved
    return at_support(gradient, offset, place), None, None, None


def _at_support(gradient: Tensor, offset: Tensor, place: Tensor) -> Tensor:
    steps, batch, height, width, channels = gradient.shape
    out = torch.empty(place.shape[1], dtype=torch.float32)
    support = support_of(offset, place)
    cpu.gather_at_support(steps, batch * height * width, channels, array(gradient.contiguous()), support, threads(), array(out))
    return out


def _at_support_cuda(gradient: Tensor, offset: Tensor, place: Tensor) -> Tensor:
    _, batch, height, width, channels = gradient.shape
    sites, gradient, at = batch * height * width, gradient.contiguous(), Arguments(gradient.device)
    out = torch.empty(place.shape[1], dtype=torch.float32, device=place.device)
    dense = at.floats("gradient", gradient, gradient.numel())
    support = at.support(offset, place, groups_of(sites, channels, TILE))
    with on_device(gradient) as stream:
        kernels().gather_at_support(sites, channels, dense, support, pointer(out), stream)
    return out


from_dense = operator("from_dense(Tensor x) -> (Tensor anchor, Tensor times)")(
    cpu=_from_dense,
    cuda=_from_dense_cuda,
    fake=_from_dense_fake,
    gradients=lambda ctx, gradient, _: gradient,
    linear=True,
)
# The train as float32 [T, B, H, W, C], with the gradient of the anchor.
dense = operator("dense(Tensor times, Tensor? anchor, int steps) -> Tensor")(
    cpu=_dense,
    cuda=_dense_cuda,
    fake=lambda times, anchor, steps: times.new_empty((steps, *times.shape), dtype=torch.float32),
    gradients=lambda ctx, gradient: (None, gradient, None),
    linear=True,
)
# The anchor of a support as [T, B, H, W, C].
dense_anchor = operator("dense_anchor(Tensor anchor, Tensor offset, Tensor place, SymInt[] shape) -> Tensor")(
    cpu=_dense_anchor, cuda=_dense_anchor, fake=_dense_anchor, save=_dense_anchor_save, gradients=_dense_anchor_gradient
)
at_support = operator("at_support(Tensor gradient, Tensor offset, Tensor place) -> Tensor")(
    cpu=_at_support, cuda=_at_support_cuda, fake=lambda gradient, offset, place: gradient.new_empty(place.shape[1])
)
