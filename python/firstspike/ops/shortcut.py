"""`fire_layer_shortcut`: `fire_layer` with spikes that go into the current of its outputs one by one.

On the CPU alone; elsewhere the layer gets its input and the shortcut's spikes side by side (`_shortcut.with_shortcut`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .._geometry import named
from ._library import (
    INPUT,
    TILES,
    array,
    check_tile,
    cpu,
    empty,
    fake_recorded,
    operator,
    recorded,
    support_of,
    threads,
)
from .layer import fire_layer_backward


class Forward(NamedTuple):
    """The arguments of `fire_layer_shortcut` in the order of its schema."""

    times: Tensor
    anchor: Tensor | None
    in_offset: Tensor | None
    in_place: Tensor | None
    weight: Tensor
    bias: Tensor | None
    shortcut: Tensor  # [B, H, W, M], of the size of the output, or larger: then every n-th row and column counts
    shortcut_anchor: Tensor | None
    shortcut_offset: Tensor | None
    shortcut_place: Tensor | None
    scale: Tensor  # [M]
    geometry: Sequence[int]
    neuron: Sequence[float]  # threshold, decay, the surrogate's kind and its scale
    record: bool
    tile: int


class Backward(NamedTuple):
    """The arguments of `shortcut_backward` in the order of its schema."""

    gradient: Tensor  # at the layer's support entries
    shortcut: Tensor
    in_offset: Tensor | None  # of the layer that made the shortcut's spikes
    in_place: Tensor | None
    scale: Tensor
    offset: Tensor
    slope: Tensor
    place: Tensor
    geometry: Sequence[int]
    decay: float
    needs: Sequence[bool]  # whether the gradient at the shortcut's anchor and the scale is wanted

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the gradients; those that nobody needs are empty."""
        steps = named(self.geometry).steps
        at_anchor = (steps, *self.shortcut.shape) if self.in_place is None else (self.in_place.shape[1],)
        return at_anchor if self.needs[0] else (0,), tuple(self.scale.shape) if self.needs[1] else (0,)


def _forward(*arguments: Any) -> tuple[Tensor, ...]:
    a = Forward(*arguments)
    if a.record:
        check_tile(a.tile, "cpu")
    fired = torch.empty(named(a.geometry).out_shape, dtype=torch.uint8)
    result = cpu.fire_layer(
        a.geometry,
        a.neuron,
        array(a.times),
        array(a.weight),
        array(a.bias),
        a.record,
        threads(),
        array(fired),
        (array(a.shortcut), array(a.scale.contiguous())),
    )
    anchor, *support = recorded(result)
    return anchor, fired, *support


def _forward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    a = Forward(*arguments)
    layer = named(a.geometry)
    anchor, *support = fake_recorded(a.times, layer.out_sites, layer.outputs, layer.steps, a.record, a.tile)
    return anchor, a.times.new_empty(layer.out_shape), *support


def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    a = Backward(*arguments)
    made = [empty(shape) for shape in a.shapes]
    cpu.shortcut_gradients(
        a.geometry,
        (0.0, a.decay, 0, 1.0),
        (array(a.shortcut), array(a.scale.contiguous())),
        support_of(a.offset, a.place),
        array(a.slope),
        array(a.gradient.contiguous()),
        None if a.in_offset is None or a.in_place is None else support_of(a.in_offset, a.in_place),
        threads(),
        *(array(x) if need else None for x, need in zip(made, a.needs, strict=True)),
    )
    return tuple(made)


def _backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    a = Backward(*arguments)
    return tuple(a.scale.new_empty(shape) for shape in a.shapes)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    a = Forward(*inputs)
    _, fired, *support = output
    ctx.mark_non_differentiable(fired, *support)
    ctx.set_materialize_grads(False)  # else zeros are made for each of them
    ctx.geometry, ctx.decay, ctx.record = a.geometry, a.neuron[1], a.record
    own = a.times, a.in_offset, a.in_place, a.weight
    ctx.save_for_backward(*own, a.shortcut, a.shortcut_offset, a.shortcut_place, a.scale, *support)


@once_differentiable
def _gradients(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * len(Forward._fields)
    if not ctx.record:
        raise RuntimeError("fire_layer_shortcut recorded nothing to differentiate: call it with record=True")
    saved, rest = ctx.saved_tensors, (ctx.geometry, ctx.decay)
    own, side, support = saved[:4], saved[4:8], saved[8:]
    results: list[Tensor | None] = []
    for backward, inputs, places in ((fire_layer_backward, own, (1, 4, 5)), (shortcut_backward, side, (7, 10))):
        needs = [ctx.needs_input_grad[place] for place in places]
        made = backward(gradient, *inputs, *support, *rest, needs) if any(needs) else [None] * len(needs)
        results += [g if need else None for g, need in zip(made, needs, strict=True)]
    at_anchor, at_weight, at_bias, at_shortcut, at_scale = results
    return None, at_anchor, None, None, at_weight, at_bias, None, at_shortcut, None, None, at_scale, *[None] * 4


_fire_layer_shortcut = operator(
    f"fire_layer_shortcut({INPUT}, Tensor weight, Tensor? bias, Tensor shortcut, Tensor? shortcut_anchor,"
    " Tensor? shortcut_offset, Tensor? shortcut_place, Tensor scale, SymInt[] geometry, float[] neuron, bool record,"
    " int tile) -> (Tensor anchor, Tensor fired, Tensor offset, Tensor slope, Tensor place)",
    cpu=_forward,
    cuda=None,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
)
# Gradients at the shortcut's anchor and the scale; empty where `needs` is false.
shortcut_backward = operator(
    "shortcut_backward(Tensor gradient, Tensor shortcut, Tensor? in_offset, Tensor? in_place, Tensor scale,"
    " Tensor offset, Tensor slope, Tensor place, SymInt[] geometry, float decay, bool[] needs) -> (Tensor, Tensor)",
    cpu=_backward,
    cuda=None,
    fake=_backward_fake,
)


def fire_layer_shortcut(
    times: Tensor,
    anchor: Tensor | None,
    in_offset: Tensor | None,
    in_place: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    shortcut: Tensor,
    shortcut_anchor: Tensor | None,
    shortcut_offset: Tensor | None,
    shortcut_place: Tensor | None,
    scale: Tensor,
    geometry: Sequence[int],
    neuron: Sequence[float],
    record: bool,
) -> tuple[Tensor, ...]:
    """Returns (anchor, fired, offset, slope, place), as `fire_layer`. record must be true where a gradient is wanted."""
    result: tuple[Tensor, ...] = _fire_layer_shortcut(
        times,
        anchor,
        in_offset,
        in_place,
        weight,
        bias,
        shortcut,
        shortcut_anchor,
        shortcut_offset,
        shortcut_place,
        scale,
        geometry,
        neuron,
        record,
        TILES[times.device.type],
    )
    return result
