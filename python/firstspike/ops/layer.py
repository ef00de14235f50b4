"""`fire_layer`: synapses (linear or convolution, average pooling folded in) and the neurons after them, fused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._base.geometry import named
from . import _cuda
from ._cuda import NO_SLOTS, Arguments, Recording, kernels, nothing_recorded, on_device, pointer, strides
from ._operator import INPUT, operator
from ._support import (
    array,
    check_tile,
    cpu,
    decays_of,
    fake_recorded,
    gradient_shapes,
    gradients_of,
    groups_of,
    neuron_with,
    only,
    recorded,
    require_record,
    threads,
    tile_of,
)


class Forward(NamedTuple):
    """The arguments of `fire_layer` in the order of its schema."""

    times: Tensor
    anchor: Tensor | None
    in_offset: Tensor | None
    in_place: Tensor | None
    weight: Tensor
    bias: Tensor | None
    geometry: Sequence[int]
    neuron: Sequence[float]  # threshold, decay, the surrogate's kind and its scale, synaptic decay
    record: bool
    tile: int


class Backward(NamedTuple):
    """The arguments of `fire_layer_backward` in the order of its schema."""

    gradient: Tensor  # at the layer's support entries
    times: Tensor
    in_offset: Tensor | None
    in_place: Tensor | None
    weight: Tensor
    offset: Tensor
    slope: Tensor | None
    place: Tensor
    geometry: Sequence[int]
    decays: Sequence[float]  # of the membrane and of the synaptic current
    needs: Sequence[bool]  # whether the gradient at the anchor, the weight and the bias is wanted

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the gradients; those that nobody needs are empty."""
        return gradient_shapes(self.times, self.in_place, self.weight, named(self.geometry), self.needs)


def _forward(*arguments: Any, shortcut: tuple[Any, Any] | None = None) -> tuple[Tensor, ...]:
    """shortcut: arrays of the times and the scale of one, see `shortcut`."""
    a = Forward(*arguments)
    if a.record:
        check_tile(a.tile, "cpu")
    fired = torch.empty(named(a.geometry).out_shape, dtype=torch.uint8)
    synapses = array(a.times), array(a.weight), array(a.bias)
    result = cpu.fire_layer(a.geometry, a.neuron, *synapses, a.record, threads(), array(fired), shortcut)
    anchor, *support = recorded(result)
    return anchor, fired, *support


def _forward_cuda(*arguments: Any) -> tuple[Tensor, ...]:
    a = Forward(*arguments)
    layer, at = named(a.geometry), Arguments(a.times.device)
    fired = a.times.new_empty(layer.out_shape)
    space = _cuda.workspace(kernels().layer_workspace(layer), a.times)
    times, weight = at.bytes("times", a.times, layer.in_units), at.weight(a.weight, layer)
    call = (layer, times, weight, at.floats("bias", a.bias, layer.outputs), pointer(space)), a.neuron
    with on_device(a.times) as stream:
        if not a.record:
            kernels().fire_layer(*call, NO_SLOTS, pointer(fired), stream)
            anchor, *support = nothing_recorded(a.times)
            return anchor, fired, *support
        check_tile(a.tile, "cuda")
        recording = Recording(a.times, groups_of(layer.out_sites, layer.outputs, a.tile), layer.steps)
        kernels().fire_layer(*call, recording.slots, pointer(fired), stream)
        anchor, *support = recording.place(lambda to: kernels().place_layer(*call, recording.slots, to, stream))
    return anchor, fired, *support


def _forward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    a = Forward(*arguments)
    layer = named(a.geometry)
    anchor, *support = fake_recorded(a.times, layer.out_sites, layer.outputs, a.record, a.tile)
    return anchor, a.times.new_empty(layer.out_shape), *support


def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    a = Backward(*arguments)
    return gradients_of(cpu.layer_gradients, a, array(a.times), array(a.weight))


def _backward_cuda(*arguments: Any) -> tuple[Tensor, ...]:
    a = Backward(*arguments)
    layer, at = named(a.geometry), Arguments(a.times.device)
    gradients = at_anchor, at_weight, at_bias = _backward_fake(*arguments)
    neuron, entries, gradient = neuron_with(a.decays), a.place.shape[1], a.gradient.contiguous()
    output = (
        at.support(a.offset, a.place, groups_of(layer.out_sites, layer.outputs, _cuda.TILE)),
        at.floats("slope", a.slope, entries),
        at.floats("gradient", gradient, entries),
    )
    with on_device(a.times) as stream:
        if a.needs[0]:
            if layer.height % layer.pool or layer.width % layer.pool:
                at_anchor.zero_()  # units outside the last whole pooling window reach nothing
            space = _cuda.workspace(kernels().input_gradient_workspace(layer), a.times)
            source: tuple[int, ...] = (0, 0, 0)
            if a.in_offset is not None and a.in_place is not None:
                source = at.support(a.in_offset, a.in_place, groups_of(layer.in_sites, layer.channels, _cuda.TILE))
            synapses = layer, 0, at.weight(a.weight, layer), 0, pointer(space)
            kernels().input_gradient(synapses, neuron, output, source, pointer(at_anchor), stream)
        if a.needs[1] or a.needs[2]:
            target = at_weight if a.needs[1] else torch.empty_like(a.weight, memory_format=torch.contiguous_format)
            space = _cuda.workspace(kernels().weight_gradient_workspace(layer), a.times)
            bias = pointer(at_bias) if a.needs[2] else 0
            times, shape = at.bytes("times", a.times, layer.in_units), (0, *strides(target, layer))
            synapses = layer, times, shape, 0, pointer(space)
            kernels().weight_gradient(synapses, neuron, output, pointer(target), bias, stream)
    return gradients


def _backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    a = Backward(*arguments)
    return tuple(a.weight.new_empty(shape) for shape in a.shapes)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...], more: tuple[Tensor | None, ...] = ()) -> None:
    """more: tensors to save after the layer's; the last that is saved is the output's anchor."""
    a = Forward(*inputs)
    anchor, _, offset, slope, place = output
    ctx.geometry, ctx.decays, ctx.record = a.geometry, decays_of(a.neuron), a.record
    ctx.save_for_backward(a.times, a.in_offset, a.in_place, a.weight, offset, slope, place, *more, anchor)


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    require_record(ctx, "fire_layer")
    needs = [ctx.needs_input_grad[n] for n in (1, 4, 5)]
    results = fire_layer_backward(gradient, *saved[:-1], ctx.geometry, ctx.decays, needs)
    at_anchor, at_weight, at_bias = only(results, needs)
    return None, at_anchor, None, None, at_weight, at_bias, None, None, None, None


_fire_layer = operator(
    f"fire_layer({INPUT}, Tensor weight, Tensor? bias, SymInt[] geometry, float[] neuron, bool record, int tile)"
    " -> (Tensor anchor, Tensor fired, Tensor offset, Tensor slope, Tensor place)"
)(cpu=_forward, cuda=_forward_cuda, fake=_forward_fake, save=_save, gradients=_gradients)
# Gradients at the anchor, the weight and the bias; empty where `needs` is false. Also the backward pass of `integrate_layer`,
# whose entries have no slope.
fire_layer_backward = operator(
    "fire_layer_backward(Tensor gradient, Tensor times, Tensor? in_offset, Tensor? in_place, Tensor weight,"
    " Tensor offset, Tensor? slope, Tensor place, SymInt[] geometry, float[] decays, bool[] needs)"
    " -> (Tensor, Tensor, Tensor)"
)(cpu=_backward, cuda=_backward_cuda, fake=_backward_fake)


def fire_layer(*arguments: Any) -> tuple[Tensor, ...]:
    """(anchor, fired, offset, slope, place); takes the fields of `Forward` without `tile`.

    record must be true where a gradient is wanted.
    """
    result: tuple[Tensor, ...] = _fire_layer(*arguments, tile_of(arguments[0].device))
    return result
