"""`fire_layer`: synapses (linear or convolution, average pooling folded in) and the neurons behind them, fused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .._geometry import Geometry
from . import _cuda
from ._cuda import NO_SLOTS, Recording, kernels, nothing_recorded, on_device, pointer, pointers, strides
from ._library import (
    INPUT,
    TILES,
    array,
    check_tile,
    cpu,
    empty,
    fake_recorded,
    gradient_shapes,
    groups_of,
    operator,
    recorded,
    support_of,
    threads,
)


def _forward(
    times: Tensor,
    anchor: Tensor | None,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    neuron: Sequence[float],
    record: bool,
    tile: int,
) -> tuple[Tensor, ...]:
    if record:
        check_tile(tile, "cpu")
    fired = torch.empty(Geometry(*geometry).out_shape, dtype=torch.uint8)
    result = cpu.fire_layer(geometry, neuron, array(times), array(weight), array(bias), record, threads(), array(fired))
    support_anchor, *support = recorded(result)
    return support_anchor, fired, *support


def _forward_cuda(
    times: Tensor,
    anchor: Tensor | None,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    neuron: Sequence[float],
    record: bool,
    tile: int,
) -> tuple[Tensor, ...]:
    layer = Geometry(*geometry)
    fired = times.new_empty(layer.out_shape)
    variant = _cuda.VARIANT
    space = _cuda.workspace(kernels().fire_workspace(geometry, variant), times)
    call = (
        geometry,
        neuron,
        pointer(times),
        weight.data_ptr(),
        strides(weight, geometry),
        pointer(bias),
        pointer(space),
    )
    with on_device(times) as stream:
        if not record:
            kernels().fire_layer(*call, NO_SLOTS, pointer(fired), variant, stream)
            support_anchor, *support = nothing_recorded(times)
            return support_anchor, fired, *support
        check_tile(tile, "cuda")
        groups = groups_of(layer.out_sites, layer.outputs, tile)
        found = Recording(times, groups, fired.numel(), layer.steps)
        kernels().fire_layer(*call, found.slots, pointer(fired), variant, stream)
        support_anchor, *support = found.place(
            lambda to: kernels().place_layer(*call, found.slots, to, variant, stream)
        )
    return support_anchor, fired, *support


def _forward_fake(
    times: Tensor,
    anchor: Tensor | None,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    neuron: Sequence[float],
    record: bool,
    tile: int,
) -> tuple[Tensor, ...]:
    layer = Geometry(*geometry)
    support_anchor, *support = fake_recorded(times, layer.out_sites, layer.outputs, layer.steps, record, tile)
    return support_anchor, times.new_empty(layer.out_shape), *support


def _backward(
    gradient: Tensor,
    times: Tensor,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    offset: Tensor,
    slope: Tensor | None,
    place: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, ...]:
    made = [empty(shape) for shape in gradient_shapes(times, in_place, weight, geometry, needs)]
    cpu.layer_gradients(
        geometry,
        (0.0, decay, 0, 1.0),
        array(times),
        array(weight),
        support_of(offset, place),
        array(slope),
        array(gradient.contiguous()),
        None if in_offset is None or in_place is None else support_of(in_offset, in_place),
        threads(),
        *(array(x) if need else None for x, need in zip(made, needs, strict=True)),
    )
    return tuple(made)


def _backward_cuda(
    gradient: Tensor,
    times: Tensor,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    offset: Tensor,
    slope: Tensor | None,
    place: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, ...]:
    at_anchor, at_weight, at_bias = _backward_fake(
        gradient, times, in_offset, in_place, weight, offset, slope, place, geometry, decay, needs
    )
    gradient, support, neuron = gradient.contiguous(), pointers(offset, *place), (0.0, decay, 0, 1.0)
    layer = Geometry(*geometry)
    with on_device(times) as stream:
        if needs[0]:
            if layer.height % layer.pool or layer.width % layer.pool:
                at_anchor.zero_()  # units outside the last whole pooling window reach nothing
            space = _cuda.workspace(kernels().input_gradient_workspace(geometry), times)
            producer = (0, 0, 0) if in_offset is None or in_place is None else pointers(in_offset, *in_place)
            kernels().input_gradient(
                geometry,
                neuron,
                weight.data_ptr(),
                strides(weight, geometry),
                pointer(space),
                support,
                pointer(slope),
                pointer(gradient),
                producer,
                pointer(at_anchor),
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
                strides(target, geometry),
                pointer(target),
                pointer(at_bias) if needs[2] else 0,
                stream,
            )
    return at_anchor, at_weight, at_bias


def _backward_fake(
    gradient: Tensor,
    times: Tensor,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    offset: Tensor,
    slope: Tensor | None,
    place: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, ...]:
    return tuple(weight.new_empty(shape) for shape in gradient_shapes(times, in_place, weight, geometry, needs))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    times, _, in_offset, in_place, weight, _, geometry, neuron, record, _ = inputs
    _, fired, offset, slope, place = output
    ctx.mark_non_differentiable(fired, offset, slope, place)
    ctx.set_materialize_grads(False)  # else zeros are made for each of them
    ctx.geometry, ctx.decay, ctx.record = geometry, neuron[1], record
    ctx.save_for_backward(times, in_offset, in_place, weight, offset, slope, place)


@once_differentiable
def _gradients(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 10
    if not ctx.record:
        raise RuntimeError("fire_layer recorded nothing to differentiate: call it with record=True")
    needs = [ctx.needs_input_grad[1], ctx.needs_input_grad[4], ctx.needs_input_grad[5]]
    times, in_offset, in_place, weight, offset, slope, place = ctx.saved_tensors
    results = fire_layer_backward(
        gradient, times, in_offset, in_place, weight, offset, slope, place, ctx.geometry, ctx.decay, needs
    )
    at_anchor, at_weight, at_bias = (g if need else None for g, need in zip(results, needs, strict=True))
    return None, at_anchor, None, None, at_weight, at_bias, None, None, None, None


_fire_layer = operator(
    f"fire_layer({INPUT}, Tensor weight, Tensor? bias, SymInt[] geometry, float[] neuron, bool record, int tile)"
    " -> (Tensor anchor, Tensor fired, Tensor offset, Tensor slope, Tensor place)",
    cpu=_forward,
    cuda=_forward_cuda,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
)
# Gradients at the anchor, the weight and the bias; empty where `needs` is false. Also the backward pass of `integrate_layer`,
# whose entries have no slope.
fire_layer_backward = operator(
    "fire_layer_backward(Tensor gradient, Tensor times, Tensor? in_offset, Tensor? in_place, Tensor weight,"
    " Tensor offset, Tensor? slope, Tensor place, SymInt[] geometry, float decay, bool[] needs)"
    " -> (Tensor, Tensor, Tensor)",
    cpu=_backward,
    cuda=_backward_cuda,
    fake=_backward_fake,
)


def fire_layer(
    times: Tensor,
    anchor: Tensor | None,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    neuron: Sequence[float],
    record: bool,
) -> tuple[Tensor, ...]:
    """Returns (anchor, fired, offset, slope, place).

    neuron: threshold, decay, the surrogate's kind and its scale. record must be true where a gradient is wanted.
    """
    tile = TILES[times.device.type]
    result: tuple[Tensor, ...] = _fire_layer(
        times, anchor, in_offset, in_place, weight, bias, geometry, neuron, record, tile
    )
    return result
