"""`ramp`: direct coding, a constant current into each neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._cuda import NO_SLOTS, TILE, Arguments, Recording, kernels, nothing_recorded, on_device, pointer
from ._operator import operator
from ._support import (
    array,
    check_tile,
    cpu,
    decays_of,
    fake_recorded,
    groups_of,
    neuron_with,
    recorded,
    require_record,
    support_of,
    threads,
    tile_of,
)

Decays = Sequence[float]  # of the membrane and of the synaptic current


def _sizes(x: Tensor) -> tuple[int, int]:
    """Sites and channels of currents [B, H, W, C]."""
    channels = x.shape[-1]
    return x.numel() // max(channels, 1), channels


def _forward(current: Tensor, steps: int, neuron: Sequence[float], record: bool, tile: int) -> tuple[Tensor, ...]:
    if record:
        check_tile(tile, "cpu")
    fired = torch.empty(current.shape, dtype=torch.uint8)
    result = cpu.ramp(*_sizes(current), steps, neuron, array(current), record, threads(), array(fired))
    anchor, *support = recorded(result)
    return anchor, fired, *support


def _forward_cuda(current: Tensor, steps: int, neuron: Sequence[float], record: bool, tile: int) -> tuple[Tensor, ...]:
    fired, sizes = torch.empty_like(current, dtype=torch.uint8), _sizes(current)
    call = *sizes, steps, neuron, Arguments(current.device).floats("current", current, current.numel())
    with on_device(current) as stream:
        if not record:
            kernels().ramp(*call, NO_SLOTS, pointer(fired), stream)
            anchor, *support = nothing_recorded(current)
            return anchor, fired, *support
        check_tile(tile, "cuda")
        recording = Recording(current, groups_of(*sizes, tile), steps)
        kernels().ramp(*call, recording.slots, pointer(fired), stream)
        anchor, *support = recording.place(lambda to: kernels().place_ramp(*call, recording.slots, to, stream))
    return anchor, fired, *support


def _forward_fake(current: Tensor, steps: int, neuron: Sequence[float], record: bool, tile: int) -> tuple[Tensor, ...]:
    batch, height, width, channels = current.shape
    anchor, *support = fake_recorded(current, batch * height * width, channels, record, tile)
    return anchor, current.new_empty(current.shape, dtype=torch.uint8), *support


def _backward(
    gradient: Tensor, offset: Tensor, slope: Tensor, place: Tensor, shape: Sequence[int], steps: int, decays: Decays
) -> Tensor:
    """gradient: at the support entries."""
    at_current = gradient.new_empty(tuple(shape))
    call = *_sizes(at_current), steps, neuron_with(decays), support_of(offset, place)
    cpu.ramp_gradient(*call, array(slope), array(gradient.contiguous()), threads(), array(at_current))
    return at_current


def _backward_cuda(
    gradient: Tensor, offset: Tensor, slope: Tensor, place: Tensor, shape: Sequence[int], steps: int, decays: Decays
) -> Tensor:
    at_current, gradient, at = gradient.new_empty(tuple(shape)), gradient.contiguous(), Arguments(gradient.device)
    sizes, entries = _sizes(at_current), place.shape[1]
    support = at.support(offset, place, groups_of(*sizes, TILE))
    output = support, at.floats("slope", slope, entries), at.floats("gradient", gradient, entries)
    with on_device(gradient) as stream:
        kernels().ramp_gradient(*sizes, steps, neuron_with(decays), output, pointer(at_current), stream)
    return at_current


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    current, ctx.steps, neuron, ctx.record, _ = inputs
    anchor, _, *support = output
    ctx.shape, ctx.decays = current.shape, decays_of(neuron)
    ctx.save_for_backward(*support, anchor)


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    require_record(ctx, "ramp")
    at_current = ramp_backward(gradient, *saved[:-1], ctx.shape, ctx.steps, ctx.decays)
    return at_current, None, None, None, None


_ramp = operator(
    "ramp(Tensor current, int steps, float[] neuron, bool record, int tile)"
    " -> (Tensor anchor, Tensor fired, Tensor offset, Tensor slope, Tensor place)"
)(cpu=_forward, cuda=_forward_cuda, fake=_forward_fake, save=_save, gradients=_gradients)
ramp_backward = operator(
    "ramp_backward(Tensor gradient, Tensor offset, Tensor slope, Tensor place, SymInt[] shape, int steps, float[] decays)"
    " -> Tensor"
)(
    cpu=_backward,
    cuda=_backward_cuda,
    fake=lambda gradient, offset, slope, place, shape, *_: gradient.new_empty(tuple(shape)),
)


def ramp(current: Tensor, steps: int, neuron: Sequence[float], record: bool) -> tuple[Tensor, ...]:
    """(anchor, fired, offset, slope, place) of currents [B, H, W, C]; record must be true where a gradient is wanted."""
    result: tuple[Tensor, ...] = _ramp(current, steps, neuron, record, tile_of(current.device))
    return result
