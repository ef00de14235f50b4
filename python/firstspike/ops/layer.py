"""`fire_layer`: synapses (linear or convolution, average pooling folded in) and the neurons behind them, fused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import _cuda
from ._cuda import NO_SLOTS, Recording, kernels, nothing_recorded, on_device, pointer, pointers
from ._library import array, cpu, empty, fake_recorded, groups_of, operator, out_size, recorded, support_of, threads

# The edge of the input comes as `edge` and, where it is a list, its support's (offset, step, lane).
_INPUT = "Tensor times, Tensor? edge, Tensor? in_offset, Tensor? in_step, Tensor? in_lane, Tensor weight"
_NEURON = "SymInt[] geometry, float threshold, float decay, int surrogate, float scale"


def _forward(
    times: Tensor,
    edge: Tensor | None,
    in_offset: Tensor | None,
    in_step: Tensor | None,
    in_lane: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    threshold: float,
    decay: float,
    surrogate: int,
    scale: float,
    record: bool,
) -> tuple[Tensor, ...]:
    fired = torch.empty((geometry[0], *out_size(geometry), geometry[11]), dtype=torch.uint8)
    result = cpu.fire_layer(
        geometry,
        (threshold, decay, surrogate, scale),
        array(times),
        array(weight),
        array(bias),
        record,
        threads(),
        array(fired),
    )
    support_edge, *support = recorded(result)
    return support_edge, fired, *support


def _forward_cuda(
    times: Tensor,
    edge: Tensor | None,
    in_offset: Tensor | None,
    in_step: Tensor | None,
    in_lane: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    threshold: float,
    decay: float,
    surrogate: int,
    scale: float,
    record: bool,
) -> tuple[Tensor, ...]:
    fired = times.new_empty((geometry[0], *out_size(geometry), geometry[11]))
    space = _cuda.workspace(kernels().forward_workspace(geometry), times)
    call = (
        geometry,
        (threshold, decay, surrogate, scale),
        pointer(times),
        weight.data_ptr(),
        weight.stride(),
        pointer(bias),
        pointer(space),
    )
    with on_device(times) as stream:
        if not record:
            kernels().fire_layer(*call, NO_SLOTS, pointer(fired), _cuda.VARIANT, stream)
            support_edge, *support = nothing_recorded(times)
            return support_edge, fired, *support
        groups = groups_of(fired.numel() // geometry[11], geometry[11], times.device)
        found = Recording(times, groups, fired.numel(), geometry[12])
        kernels().fire_layer(*call, found.slots, pointer(fired), _cuda.VARIANT, stream)
        support_edge, *support = found.place(lambda to: kernels().place_layer(*call, found.slots, to, stream))
    return support_edge, fired, *support


def _forward_fake(
    times: Tensor,
    edge: Tensor | None,
    in_offset: Tensor | None,
    in_step: Tensor | None,
    in_lane: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    threshold: float,
    decay: float,
    surrogate: int,
    scale: float,
    record: bool,
) -> tuple[Tensor, ...]:
    height, width = out_size(geometry)
    support_edge, *support = fake_recorded(times, geometry[0] * height * width, geometry[11], geometry[12], record)
    return support_edge, times.new_empty((geometry[0], height, width, geometry[11])), *support


def _backward(
    gradient: Tensor,
    times: Tensor,
    in_offset: Tensor | None,
    in_step: Tensor | None,
    in_lane: Tensor | None,
    weight: Tensor,
    offset: Tensor,
    slope: Tensor | None,
    step: Tensor,
    lane: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (0,) if not needs[0] else (geometry[12], *times.shape) if in_step is None else in_step.shape
    at_input, at_bias = empty(shape), empty((geometry[11] if needs[2] else 0,))
    at_weight = empty(weight.shape if needs[1] else (0,))
    neuron = (0.0, decay, 0, 1.0)
    common = (
        geometry,
        neuron,
        array(times),
        array(weight),
        support_of(offset, step, lane),
        array(slope),
        array(gradient.contiguous()),
    )
    if needs[0]:
        producer = (
            None if in_offset is None or in_step is None or in_lane is None else support_of(in_offset, in_step, in_lane)
        )
        cpu.input_gradient(*common, producer, threads(), array(at_input))
    if needs[1] or needs[2]:
        target = at_weight if needs[1] else empty(weight.shape)
        cpu.weight_gradient(*common, threads(), array(target), array(at_bias) if needs[2] else None)
    return at_input, at_weight, at_bias


def _backward_cuda(
    gradient: Tensor,
    times: Tensor,
    in_offset: Tensor | None,
    in_step: Tensor | None,
    in_lane: Tensor | None,
    weight: Tensor,
    offset: Tensor,
    slope: Tensor | None,
    step: Tensor,
    lane: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    at_input, at_weight, at_bias = _backward_fake(
        gradient, times, in_offset, in_step, in_lane, weight, offset, slope, step, lane, geometry, decay, needs
    )
    gradient, support, neuron = gradient.contiguous(), pointers(offset, step, lane), (0.0, decay, 0, 1.0)
    with on_device(times) as stream:
        if needs[0]:
            if geometry[1] % geometry[4] or geometry[2] % geometry[4]:
                at_input.zero_()  # units outside the last whole pooling window reach nothing
            space = _cuda.workspace(kernels().input_gradient_workspace(geometry), times)
            kernels().input_gradient(
                geometry,
                neuron,
                weight.data_ptr(),
                weight.stride(),
                pointer(space),
                support,
                pointer(slope),
                pointer(gradient),
                pointers(in_offset, in_step, in_lane),
                pointer(at_input),
                _cuda.VARIANT,
                stream,
            )
        if needs[1] or needs[2]:
            target = at_weight if needs[1] else torch.empty_like(weight, memory_format=torch.contiguous_format)
            space = _cuda.workspace(kernels().weight_gradient_workspace(geometry), times)
            kernels().weight_gradient(
                geometry,
                neuron,
                pointer(times),
                pointer(space),
                support,
                pointer(slope),
                pointer(gradient),
                target.stride(),
                pointer(target),
                pointer(at_bias) if needs[2] else 0,
                stream,
            )
    return at_input, at_weight, at_bias


def _backward_fake(
    gradient: Tensor,
    times: Tensor,
    in_offset: Tensor | None,
    in_step: Tensor | None,
    in_lane: Tensor | None,
    weight: Tensor,
    offset: Tensor,
    slope: Tensor | None,
    step: Tensor,
    lane: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    at_input = (0,) if not needs[0] else (geometry[12], *times.shape) if in_step is None else in_step.shape
    at_weight = torch.empty_like(weight, memory_format=torch.contiguous_format) if needs[1] else weight.new_empty(0)
    return weight.new_empty(at_input), at_weight, weight.new_empty(geometry[11] if needs[2] else 0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    times, _, in_offset, in_step, in_lane, weight, _, geometry, _, decay, _, _, record = inputs
    _, fired, offset, slope, step, lane = output
    ctx.mark_non_differentiable(fired, offset, slope, step, lane)
    ctx.geometry, ctx.decay, ctx.record = geometry, decay, record
    ctx.save_for_backward(times, in_offset, in_step, in_lane, weight, offset, slope, step, lane)


@once_differentiable
def _gradients(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    if not ctx.record:
        raise RuntimeError("fire_layer recorded nothing to differentiate: call it with record=True")
    times, in_offset, in_step, in_lane, weight, offset, slope, step, lane = ctx.saved_tensors
    needs = [ctx.needs_input_grad[1], ctx.needs_input_grad[5], ctx.needs_input_grad[6]]
    results = torch.ops.firstspike.fire_layer_backward(
        gradient, times, in_offset, in_step, in_lane, weight, offset, slope, step, lane, ctx.geometry, ctx.decay, needs
    )
    at_edge, at_weight, at_bias = (g if need else None for g, need in zip(results, needs, strict=True))
    return None, at_edge, None, None, None, at_weight, at_bias, *[None] * 6


_NAME = operator(
    f"fire_layer({_INPUT}, Tensor? bias, {_NEURON}, bool record)"
    " -> (Tensor edge, Tensor fired, Tensor offset, Tensor slope, Tensor step, Tensor lane)",
    cpu=_forward,
    cuda=_forward_cuda,
    fake=_forward_fake,
)
# Also the backward pass of `integrate_layer`, whose entries have no slope.
operator(
    "fire_layer_backward(Tensor gradient, Tensor times, Tensor? in_offset, Tensor? in_step, Tensor? in_lane,"
    " Tensor weight, Tensor offset, Tensor? slope, Tensor step, Tensor lane, SymInt[] geometry, float decay,"
    " bool[] needs) -> (Tensor, Tensor, Tensor)",
    cpu=_backward,
    cuda=_backward_cuda,
    fake=_backward_fake,
)
torch.library.register_autograd(_NAME, _gradients, setup_context=_save)
fire_layer = torch.ops.firstspike.fire_layer.default
