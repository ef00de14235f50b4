"""`integrate_layer`: synapses and membranes that never fire, for readouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._base.geometry import named
from . import _cuda
from ._cuda import Arguments, kernels, on_device, pointer, pointers
from ._operator import INPUT, operator
from ._support import array, cpu, gradient_shapes, groups_of, neuron_with, only, threads
from .layer import fire_layer_backward


class Forward(NamedTuple):
    """The arguments of `integrate_layer` in the order of its schema."""

    times: Tensor
    anchor: Tensor | None
    in_offset: Tensor | None
    in_place: Tensor | None
    weight: Tensor
    bias: Tensor | None
    geometry: Sequence[int]
    decays: Sequence[float]  # of the membrane and of the synaptic current

    @property
    def neuron(self) -> tuple[float, ...]:
        """As the kernels take it."""
        return neuron_with(self.decays)


class Backward(NamedTuple):
    """The arguments of `integrate_layer_backward` in the order of its schema."""

    gradient: Tensor  # at the membranes, [T, B, H, W, C]
    times: Tensor
    in_offset: Tensor | None
    in_place: Tensor | None
    weight: Tensor
    geometry: Sequence[int]
    decays: Sequence[float]  # of the membrane and of the synaptic current
    needs: Sequence[bool]


def _forward(*arguments: Any) -> Tensor:
    a = Forward(*arguments)
    layer = named(a.geometry)
    membrane = torch.empty((layer.steps, *layer.out_shape), dtype=torch.float32)
    synapses = array(a.times), array(a.weight), array(a.bias)
    cpu.integrate_layer(a.geometry, a.neuron, *synapses, threads(), array(membrane))
    return membrane


def _forward_cuda(*arguments: Any) -> Tensor:
    a, membrane = Forward(*arguments), _forward_fake(*arguments)
    layer, at = named(a.geometry), Arguments(a.times.device)
    space = _cuda.workspace(kernels().layer_workspace(layer), a.times)
    times, bias = at.bytes("times", a.times, layer.in_units), at.floats("bias", a.bias, layer.outputs)
    synapses = layer, times, at.weight(a.weight, layer), bias, pointer(space)
    with on_device(a.times) as stream:
        kernels().integrate_layer(synapses, a.neuron, pointer(membrane), stream)
    return membrane


def _forward_fake(*arguments: Any) -> Tensor:
    a = Forward(*arguments)
    layer = named(a.geometry)
    return a.weight.new_empty((layer.steps, *layer.out_shape))


def _entries(gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(offset, values, place) of the elements of a dense gradient that are not zero."""
    steps, batch, height, width, channels = gradient.shape
    parts = cpu.support_from_dense(steps, batch * height * width, channels, array(gradient.contiguous()), threads())
    offset, values, place = (torch.from_numpy(part) for part in parts)
    return offset, values, place


def _entries_cuda(gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every element of the gradient is an entry: how many there are is known without a look at the device."""
    steps, batch, height, width, channels = gradient.shape
    sites, gradient = batch * height * width, gradient.contiguous()
    offset = torch.zeros(groups_of(sites, channels, _cuda.TILE) + 1, dtype=torch.int64, device=gradient.device)
    values = torch.empty(gradient.numel(), dtype=torch.float32, device=gradient.device)
    place = torch.empty((2, gradient.numel()), dtype=torch.uint8, device=gradient.device)
    with on_device(gradient) as stream:
        kernels().support_of_dense(steps, sites, channels, pointer(gradient), pointer(offset), pointers(values, *place), stream)
    return offset, values, place


def _backward(*arguments: Any, entries: Callable[[Tensor], tuple[Tensor, ...]] = _entries) -> tuple[Tensor, ...]:
    """The gradients of a layer that has these entries, without slopes."""
    a = Backward(*arguments)
    offset, values, place = entries(a.gradient)
    source = a.times, a.in_offset, a.in_place, a.weight
    gradients: tuple[Tensor, ...] = fire_layer_backward(values, *source, offset, None, place, a.geometry, a.decays, a.needs)
    return gradients


def _backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    a = Backward(*arguments)
    shapes = gradient_shapes(a.times, a.in_place, a.weight, named(a.geometry), a.needs)
    return tuple(a.weight.new_empty(shape) for shape in shapes)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a = Forward(*inputs)
    ctx.geometry, ctx.decays = a.geometry, a.decays
    ctx.save_for_backward(a.times, a.in_offset, a.in_place, a.weight, a.anchor)


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor) -> tuple[Tensor | None, ...]:
    needs = [ctx.needs_input_grad[n] for n in (1, 4, 5)]
    results = integrate_layer_backward(gradient, *saved[:-1], ctx.geometry, ctx.decays, needs)
    at_anchor, at_weight, at_bias = only(results, needs)
    return None, at_anchor, None, None, at_weight, at_bias, None, None


# Membranes [steps, batch, height, width, channels].
integrate_layer = operator(f"integrate_layer({INPUT}, Tensor weight, Tensor? bias, SymInt[] geometry, float[] decays) -> Tensor")(
    cpu=_forward, cuda=_forward_cuda, fake=_forward_fake, save=_save, gradients=_gradients
)
integrate_layer_backward = operator(
    "integrate_layer_backward(Tensor gradient, Tensor times, Tensor? in_offset, Tensor? in_place, Tensor weight,"
    " SymInt[] geometry, float[] decays, bool[] needs) -> (Tensor, Tensor, Tensor)"
)(cpu=_backward, cuda=partial(_backward, entries=_entries_cuda), fake=_backward_fake)
