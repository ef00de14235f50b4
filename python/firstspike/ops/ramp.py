"""`ramp`: direct coding, a constant current into each neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._cuda import (
    NO_SLOTS,
    TILE,
    Arguments,
    Recording,
    has_fixed_length,
    kernels,
    nothing_recorded,
    on_device,
    pointer,
    poisoned,
)
from ._first_order import first_order_only
from ._library import (
    array,
    check_tile,
    cpu,
    fake_recorded,
    groups_of,
    operator,
    recorded,
    require_record,
    support_of,
    threads,
    tile_of,
)


def _forward(current: Tensor, steps: int, neuron: Sequence[float], record: bool, tile: int) -> tuple[Tensor, ...]:
    if record:
        check_tile(tile, "cpu")
    channels = current.shape[-1]
    fired = torch.empty(current.shape, dtype=torch.uint8)
    result = cpu.ramp(
        current.numel() // max(channels, 1),
        channels,
        steps,
        neuron,
        array(current),
        record,
        threads(),
        array(fired),
    )
    anchor, *support = recorded(result)
    return anchor, fired, *support


def _forward_cuda(current: Tensor, steps: int, neuron: Sequence[float], record: bool, tile: int) -> tuple[Tensor, ...]:
    channels = current.shape[-1]
    sites = current.numel() // max(channels, 1)
    fired = torch.empty_like(current, dtype=torch.uint8)
    at = Arguments(current.device)
    call = (sites, channels, steps, neuron, at.floats("current", current, sites * channels))
    with on_device(current) as stream:
        if not record:
            kernels().ramp(*call, NO_SLOTS, pointer(fired), stream)
            anchor, *support = nothing_recorded(current)
            return anchor, fired, *support
        check_tile(tile, "cuda")
        found = Recording(current, groups_of(sites, channels, tile), sites * channels, steps)
        kernels().ramp(*call, found.slots, pointer(fired), stream)
        anchor, *support = found.place(lambda to: kernels().place_ramp(*call, found.slots, to, stream))
    return anchor, fired, *support


def _forward_fake(current: Tensor, steps: int, neuron: Sequence[float], record: bool, tile: int) -> tuple[Tensor, ...]:
    batch, height, width, channels = current.shape
    anchor, *support = fake_recorded(current, batch * height * width, channels, steps, record, tile)
    return anchor, current.new_empty(current.shape, dtype=torch.uint8), *support


def _backward(
    gradient: Tensor,
    offset: Tensor,
    slope: Tensor,
    place: Tensor,
    shape: list[int],
    steps: int,
    decay: float,
) -> Tensor:
    at_current = gradient.new_empty(shape)
    channels = shape[-1]
    cpu.ramp_gradient(
        at_current.numel() // max(channels, 1),
        channels,
        steps,
        (0.0, decay, 0, 1.0),
        support_of(offset, place),
        array(slope),
        array(gradient.contiguous()),
        threads(),
        array(at_current),
    )
    return at_current


def _backward_cuda(
    gradient: Tensor,
    offset: Tensor,
    slope: Tensor,
    place: Tensor,
    shape: list[int],
    steps: int,
    decay: float,
) -> Tensor:
    at_current, gradient = gradient.new_empty(shape), gradient.contiguous()
    at, entries = Arguments(gradient.device), place.shape[1]
    channels = shape[-1]
    sites = at_current.numel() // max(channels, 1)
    with on_device(gradient) as stream:
        kernels().ramp_gradient(
            sites,
            channels,
            steps,
            (0.0, decay, 0, 1.0),
            at.support(offset, place, groups_of(sites, channels, TILE)),
            at.floats("slope", slope, entries),
            at.floats("gradient", gradient, entries),
            pointer(at_current),
            stream,
        )
    return at_current


def _backward_fake(
    gradient: Tensor,
    offset: Tensor,
    slope: Tensor,
    place: Tensor,
    shape: list[int],
    steps: int,
    decay: float,
) -> Tensor:
    return gradient.new_empty(shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    current, steps, neuron, record, _ = inputs
    anchor, fired, *support = output
    ctx.mark_non_differentiable(fired, *support)
    ctx.set_materialize_grads(False)  # else zeros are made for each of them
    ctx.shape, ctx.steps, ctx.decay, ctx.record = current.shape, steps, neuron[1], record
    ctx.fixed = has_fixed_length()
    ctx.save_for_backward(*support, anchor)


@first_order_only
def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 5
    require_record(ctx, "ramp")
    offset, slope, place, _ = saved
    at_current = ramp_backward(gradient, offset, slope, place, ctx.shape, ctx.steps, ctx.decay)
    if ctx.fixed:
        (at_current,) = poisoned((at_current,), slope)
    return at_current, None, None, None, None


_ramp = operator(
    "ramp(Tensor current, int steps, float[] neuron, bool record, int tile)"
    " -> (Tensor anchor, Tensor fired, Tensor offset, Tensor slope, Tensor place)",
    cpu=_forward,
    cuda=_forward_cuda,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
)
ramp_backward = operator(
    "ramp_backward(Tensor gradient, Tensor offset, Tensor slope, Tensor place, SymInt[] shape, int steps, float decay)"
    " -> Tensor",
    cpu=_backward,
    cuda=_backward_cuda,
    fake=_backward_fake,
)


def ramp(current: Tensor, steps: int, neuron: Sequence[float], record: bool) -> tuple[Tensor, ...]:
    """Returns (anchor, fired, offset, slope, place) of currents [B, H, W, C]; record must be true where a gradient is wanted."""
    result: tuple[Tensor, ...] = _ramp(current, steps, neuron, record, tile_of(current.device))
    return result
