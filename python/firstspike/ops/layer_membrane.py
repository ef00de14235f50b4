"""`fire_layer_membrane`: a layer that fires and its membranes, of one product.

On CUDA, where `fire_layer` keeps its sums in registers, it is one launch of either kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._base.geometry import named
from . import integrate, layer
from ._operator import INPUT, operator
from ._support import array, check_tile, cpu, recorded, require_record, threads, tile_of


def _forward(*arguments: Any) -> tuple[Tensor, ...]:
    a = layer.Forward(*arguments)
    if a.record:
        check_tile(a.tile, "cpu")
    membrane = integrate._forward(*_integrated(a))
    sizes = named(a.geometry)
    fired = torch.empty(sizes.out_shape, dtype=torch.uint8)
    result = cpu.fire_membranes(
        sizes.out_sites, sizes.outputs, sizes.steps, a.neuron, array(membrane), a.record, threads(), array(fired)
    )
    anchor, *support = recorded(result)
    return anchor, fired, *support, membrane


def _forward_cuda(*arguments: Any) -> tuple[Tensor, ...]:
    return *layer._forward_cuda(*arguments), integrate._forward_cuda(*_integrated(layer.Forward(*arguments)))


def _forward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    return *layer._forward_fake(*arguments), integrate._forward_fake(*_integrated(layer.Forward(*arguments)))


def _integrated(a: layer.Forward) -> tuple[Any, ...]:
    """The arguments of `integrate_layer`."""
    return *a[: layer.Forward._fields.index("neuron")], a.neuron[1]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    layer._save(ctx, inputs, output[:-1])


def _gradients(ctx: Any, saved: Sequence[Any], *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    at_spikes, at_membrane = gradients[0], gradients[-1]
    source, support, needs = saved[:4], saved[4:-1], [ctx.needs_input_grad[n] for n in (1, 4, 5)]
    parts = []
    if at_spikes is not None:
        require_record(ctx, "fire_layer_membrane")
        parts.append(layer.fire_layer_backward(at_spikes, *source, *support, ctx.geometry, ctx.decay, needs))
    if at_membrane is not None:
        parts.append(integrate.integrate_layer_backward(at_membrane, *source, ctx.geometry, ctx.decay, needs))
    at: list[Tensor | None] = [None, None, None]
    for number, need in enumerate(needs):
        if need and parts:
            at[number] = parts[0][number] if len(parts) == 1 else parts[0][number] + parts[1][number]
    return None, at[0], None, None, at[1], at[2], None, None, None, None


_fire_layer_membrane = operator(
    f"fire_layer_membrane({INPUT}, Tensor weight, Tensor? bias, SymInt[] geometry, float[] neuron, bool record, int tile)"
    " -> (Tensor anchor, Tensor fired, Tensor offset, Tensor slope, Tensor place, Tensor membrane)",
    cpu=_forward,
    cuda=_forward_cuda,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
)


def fire_layer_membrane(*arguments: Any) -> tuple[Tensor, ...]:
    """As `fire_layer`, and the membranes [steps, batch, height, width, channels] without reset as the last of the results."""
    result: tuple[Tensor, ...] = _fire_layer_membrane(*arguments, tile_of(arguments[0].device))
    return result
