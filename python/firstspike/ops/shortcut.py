"""`fire_layer_shortcut`: `fire_layer` with spikes that go into the current of its outputs one by one.

On the CPU alone; elsewhere the layer gets its input and the shortcut's spikes side by side (`functional.layer.with_shortcut`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from .._base.geometry import named
from . import layer
from ._operator import INPUT, operator
from ._support import array, cpu, gradients_of, only, require_record, tile_of

LAYER = len(layer.Forward._fields)  # so many arguments are `fire_layer`'s


class Shortcut(NamedTuple):
    """The arguments of `fire_layer_shortcut` after `fire_layer`'s, in the order of its schema."""

    times: Tensor  # [B, H, W, M], of the size of the output, or larger: then every n-th row and column counts
    anchor: Tensor | None
    in_offset: Tensor | None
    in_place: Tensor | None
    scale: Tensor  # [M]

    @property
    def arrays(self) -> tuple[Any, Any]:
        """Times and scale as the kernels take them."""
        return array(self.times), array(self.scale.contiguous())


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
    decays: Sequence[float]  # of the membrane and of the synaptic current
    needs: Sequence[bool]  # whether the gradient at the shortcut's anchor and the scale is wanted

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the gradients; those that nobody needs are empty."""
        steps = named(self.geometry).steps
        at_anchor = (steps, *self.shortcut.shape) if self.in_place is None else (self.in_place.shape[1],)
        return at_anchor if self.needs[0] else (0,), tuple(self.scale.shape) if self.needs[1] else (0,)


def _forward(*arguments: Any) -> tuple[Tensor, ...]:
    return layer._forward(*arguments[:LAYER], shortcut=Shortcut(*arguments[LAYER:]).arrays)


def _forward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    return layer._forward_fake(*arguments[:LAYER])


def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    a = Backward(*arguments)
    return gradients_of(cpu.shortcut_gradients, a, (array(a.shortcut), array(a.scale.contiguous())))


def _backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    a = Backward(*arguments)
    return tuple(a.scale.new_empty(shape) for shape in a.shapes)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    shortcut = Shortcut(*inputs[LAYER:])
    layer._save(ctx, inputs[:LAYER], output, (shortcut.times, shortcut.in_offset, shortcut.in_place, shortcut.scale))


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    require_record(ctx, "fire_layer_shortcut")
    source, support, shortcut_saved, rest = saved[:4], saved[4:7], saved[7:-1], (ctx.geometry, ctx.decays)
    results: list[Tensor | None] = []
    for backward, inputs, numbers in (
        (layer.fire_layer_backward, source, (1, 4, 5)),
        (shortcut_backward, shortcut_saved, (LAYER + 1, LAYER + 4)),
    ):
        needs = [ctx.needs_input_grad[n] for n in numbers]
        results += only(backward(gradient, *inputs, *support, *rest, needs), needs) if any(needs) else [None] * len(needs)
    at_anchor, at_weight, at_bias, at_shortcut, at_scale = results
    at_layer = None, at_anchor, None, None, at_weight, at_bias, None, None, None, None
    return *at_layer, None, at_shortcut, None, None, at_scale


_fire_layer_shortcut = operator(
    f"fire_layer_shortcut({INPUT}, Tensor weight, Tensor? bias, SymInt[] geometry, float[] neuron, bool record, int tile,"
    " Tensor shortcut, Tensor? shortcut_anchor, Tensor? shortcut_offset, Tensor? shortcut_place, Tensor scale)"
    " -> (Tensor anchor, Tensor fired, Tensor offset, Tensor slope, Tensor place)"
)(cpu=_forward, fake=_forward_fake, save=_save, gradients=_gradients)
# Gradients at the shortcut's anchor and the scale; empty where `needs` is false.
shortcut_backward = operator(
    "shortcut_backward(Tensor gradient, Tensor shortcut, Tensor? in_offset, Tensor? in_place, Tensor scale,"
    " Tensor offset, Tensor slope, Tensor place, SymInt[] geometry, float[] decays, bool[] needs) -> (Tensor, Tensor)"
)(cpu=_backward, fake=_backward_fake)


def fire_layer_shortcut(*arguments: Any, shortcut: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """As `fire_layer`, with the five arguments of a `Shortcut`."""
    result: tuple[Tensor, ...] = _fire_layer_shortcut(*arguments, tile_of(arguments[0].device), *shortcut)
    return result
