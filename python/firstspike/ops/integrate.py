"""`integrate_layer`: synapses and membranes that never fire, for readouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .._geometry import Geometry
from . import _cuda
from ._cuda import kernels, on_device, pointer, pointers, strides
from ._library import INPUT, array, cpu, gradient_shapes, groups_of, operator, threads
from .layer import fire_layer_backward


def _forward(
    times: Tensor,
    anchor: Tensor | None,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    decay: float,
) -> Tensor:
    membrane = _membrane(weight, geometry)
    cpu.integrate_layer(
        geometry, (0.0, decay, 0, 1.0), array(times), array(weight), array(bias), threads(), array(membrane)
    )
    return membrane


def _forward_cuda(
    times: Tensor,
    anchor: Tensor | None,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    decay: float,
) -> Tensor:
    membrane = _membrane(weight, geometry)
    space = _cuda.workspace(kernels().integrate_workspace(geometry), times)
    with on_device(times) as stream:
        kernels().integrate_layer(
            geometry,
            (0.0, decay, 0, 1.0),
            pointer(times),
            weight.data_ptr(),
            strides(weight, geometry),
            pointer(bias),
            pointer(space),
            pointer(membrane),
            _cuda.VARIANT,
            stream,
        )
    return membrane


def _forward_fake(
    times: Tensor,
    anchor: Tensor | None,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    decay: float,
) -> Tensor:
    return _membrane(weight, geometry)


def _membrane(weight: Tensor, geometry: Sequence[int]) -> Tensor:
    layer = Geometry(*geometry)
    return weight.new_empty((layer.steps, *layer.out_shape))


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
        kernels().support_of_dense(
            steps, sites, channels, pointer(gradient), pointer(offset), pointers(values, *place), stream
        )
    return offset, values, place


def _backward_cuda(
    gradient: Tensor,
    times: Tensor,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, ...]:
    return _through(_entries_cuda(gradient), times, in_offset, in_place, weight, geometry, decay, needs)


def _backward(
    gradient: Tensor,
    times: Tensor,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, ...]:
    return _through(_entries(gradient), times, in_offset, in_place, weight, geometry, decay, needs)


def _through(
    entries: tuple[Tensor, Tensor, Tensor],
    times: Tensor,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, ...]:
    offset, values, place = entries
    return fire_layer_backward(values, times, in_offset, in_place, weight, offset, None, place, geometry, decay, needs)


def _backward_fake(
    gradient: Tensor,
    times: Tensor,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    geometry: Sequence[int],
    decay: float,
    needs: Sequence[bool],
) -> tuple[Tensor, ...]:
    return tuple(weight.new_empty(shape) for shape in gradient_shapes(times, in_place, weight, geometry, needs))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    times, _, in_offset, in_place, weight, _, geometry, decay = inputs
    ctx.geometry, ctx.decay = geometry, decay
    ctx.save_for_backward(times, in_offset, in_place, weight)


@once_differentiable
def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    needs = [ctx.needs_input_grad[1], ctx.needs_input_grad[4], ctx.needs_input_grad[5]]
    times, in_offset, in_place, weight = ctx.saved_tensors
    results = integrate_layer_backward(gradient, times, in_offset, in_place, weight, ctx.geometry, ctx.decay, needs)
    at_anchor, at_weight, at_bias = (g if need else None for g, need in zip(results, needs, strict=True))
    return None, at_anchor, None, None, at_weight, at_bias, None, None


# Membranes [steps, batch, height, width, channels].
integrate_layer = operator(
    f"integrate_layer({INPUT}, Tensor weight, Tensor? bias, SymInt[] geometry, float decay) -> Tensor",
    cpu=_forward,
    cuda=_forward_cuda,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
)
integrate_layer_backward = operator(
    "integrate_layer_backward(Tensor gradient, Tensor times, Tensor? in_offset, Tensor? in_place, Tensor weight,"
    " SymInt[] geometry, float decay, bool[] needs) -> (Tensor, Tensor, Tensor)",
    cpu=_backward,
    cuda=_backward_cuda,
    fake=_backward_fake,
)
