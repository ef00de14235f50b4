"""A good call of every bound function of the CPU kernels, with random sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from firstspike._base import kernels
from firstspike._base.geometry import Geometry
from firstspike._base.kernels import cpu

from .draws import Draw

Arguments = dict[str, Any]
CPU: dict[str, Callable[[Draw], Arguments]] = {}


def call(function: Callable[[Draw], Arguments]) -> Callable[[Draw], Arguments]:
    """Register the arguments of the kernel of the same name."""
    CPU[function.__name__] = function
    return function


def geometry(draw: Draw) -> Geometry:
    """A linear layer or a convolution, pooled or not."""
    batch, height, width, channels = draw.randint(0, 3), draw.size(6), draw.size(6), draw.choice((1, 3, 16, 40, 70))
    pool = draw.randint(1, min(height, width, 3))
    outputs, steps = draw.choice((1, 3, 16, 33, 70)), draw.steps()
    cells_y, cells_x = height // pool, width // pool
    if draw.some(0.4):
        return Geometry(batch, height, width, channels, pool, cells_y, cells_x, 1, 1, 0, 0, outputs, steps)
    pad_y, pad_x = draw.randint(0, 2), draw.randint(0, 2)
    kernel_y, kernel_x = draw.randint(1, min(5, cells_y + 2 * pad_y)), draw.randint(1, min(5, cells_x + 2 * pad_x))
    strides = draw.randint(1, 2), draw.randint(1, 2)
    return Geometry(batch, height, width, channels, pool, kernel_y, kernel_x, *strides, pad_y, pad_x, outputs, steps)


def weight(draw: Draw, g: Geometry) -> Tensor:
    """In one of the layouts that layers have."""
    x = draw.floats(g.outputs, g.channels, g.kernel_height, g.kernel_width)
    return draw.choice((x, x.flatten(1), x.contiguous(memory_format=torch.channels_last)))


def of_layer(draw: Draw) -> tuple[Geometry, Arguments]:
    """A geometry and what all passes of a layer take."""
    g = geometry(draw)
    times = draw.times(g.batch, g.height, g.width, g.channels, steps=g.steps)
    return g, {"geometry": tuple(g), "neuron": draw.neuron(), "times": times, "weight": weight(draw, g)}


def shortcut(draw: Draw, g: Geometry) -> tuple[Tensor, Tensor]:
    """Spike times of a map of the output's size, or of one of which every other row or column counts, and their scale."""
    _, out_y, out_x, _ = g.out_shape
    height, width = (n * draw.randint(1, 2) for n in (out_y, out_x))
    channels = draw.randint(1, g.outputs)
    return draw.times(g.batch, height, width, channels, steps=g.steps), draw.floats(channels)


def bias(draw: Draw, outputs: int) -> Tensor | None:
    """Or none."""
    return draw.floats(outputs) if draw.some(0.5) else None


@call
def fire_layer(draw: Draw) -> Arguments:
    g, common = of_layer(draw)
    out = torch.zeros(g.out_shape, dtype=torch.uint8)
    return {
        **common,
        "bias": bias(draw, g.outputs),
        "record": draw.some(0.5),
        "threads": draw.threads(),
        "times_out": out,
        "shortcut": shortcut(draw, g) if draw.some(0.3) else None,
    }


@call
def integrate_layer(draw: Draw) -> Arguments:
    g, common = of_layer(draw)
    out = torch.zeros(g.steps, *g.out_shape)
    return {**common, "bias": bias(draw, g.outputs), "threads": draw.threads(), "membrane": out}


@call
def layer_gradients(draw: Draw) -> Arguments:
    g, common = of_layer(draw)
    offset, place = draw.support(g.out_sites, g.outputs, g.steps, cpu.tile)
    entries, producer = place.shape[1], None
    at_anchor = torch.zeros(g.steps, g.batch, g.height, g.width, g.channels)
    if draw.some(0.5):
        producer = draw.support(g.in_sites, g.channels, g.steps, cpu.tile)
        at_anchor = torch.zeros(producer[1].shape[1])
    return {
        **common,
        "support": (offset, place),
        "slope": draw.floats(entries) if draw.some(0.7) else None,
        "gradient": draw.floats(entries),
        "input_support": producer,
        "threads": draw.threads(),
        "anchor_out": at_anchor if draw.some(0.7) else None,
        "weight_out": torch.zeros_like(common["weight"]) if draw.some(0.7) else None,
        "bias_out": torch.zeros(g.outputs) if draw.some(0.7) else None,
    }


@call
def shortcut_gradients(draw: Draw) -> Arguments:
    made = layer_gradients(draw)
    g = Geometry(*made["geometry"])
    times, scale = shortcut(draw, g)
    steps, (batch, height, width, channels) = g.steps, times.shape
    producer, at_spikes = None, torch.zeros(steps, *times.shape)
    if draw.some(0.5):
        producer = draw.support(batch * height * width, channels, steps, cpu.tile)
        at_spikes = torch.zeros(producer[1].shape[1])
    return {
        **{name: made[name] for name in ("geometry", "neuron", "support", "slope", "gradient", "threads")},
        "shortcut": (times, scale),
        "input_support": producer,
        "spikes_out": at_spikes if draw.some(0.7) else None,
        "scale_out": torch.zeros(channels) if draw.some(0.7) else None,
    }


def places(draw: Draw) -> tuple[int, int, int]:
    """Sites, channels and steps."""
    return draw.randint(0, 7), draw.choice((1, 3, 16, 33, 70)), draw.steps()


@call
def share_openmp_pool(draw: Draw) -> Arguments:
    return {"gomp_parallel": kernels._POOL}


@call
def fire(draw: Draw) -> Arguments:
    steps, neurons = draw.randint(0, 20), draw.randint(0, 70)
    return {
        "steps": steps,
        "neurons": neurons,
        "neuron": draw.neuron(),
        "current": draw.floats(steps, neurons),
        "threads": draw.threads(),
        "spikes": torch.zeros(steps, neurons),
    }


@call
def fire_gradient(draw: Draw) -> Arguments:
    made = fire(draw)
    spikes = made.pop("spikes")
    return {**made, "gradient": draw.floats(*spikes.shape), "gradient_out": spikes}


@call
def times_from_dense(draw: Draw) -> Arguments:
    steps, neurons = draw.steps(), draw.randint(0, 70)
    return {
        "steps": steps,
        "neurons": neurons,
        "spikes": draw.floats(steps, neurons),
        "threads": draw.threads(),
        "times": torch.zeros(neurons, dtype=torch.uint8),
    }


@call
def dense_from_times(draw: Draw) -> Arguments:
    steps, neurons = draw.steps(), draw.randint(0, 70)
    return {
        "steps": steps,
        "neurons": neurons,
        "times": draw.times(neurons, steps=steps),
        "threads": draw.threads(),
        "spikes": torch.zeros(steps, neurons),
    }


@call
def support_from_dense(draw: Draw) -> Arguments:
    sites, channels, steps = places(draw)
    return {
        "steps": steps,
        "sites": sites,
        "channels": channels,
        "gradient": draw.floats(steps, sites, channels) * (draw.floats(steps, sites, channels) > 0),
        "threads": draw.threads(),
    }


@call
def gather_at_support(draw: Draw) -> Arguments:
    sites, channels, steps = places(draw)
    offset, place = draw.support(sites, channels, steps, cpu.tile)
    return {
        "steps": steps,
        "sites": sites,
        "channels": channels,
        "gradient": draw.floats(steps, sites, channels),
        "support": (offset, place),
        "threads": draw.threads(),
        "gradient_out": torch.zeros(place.shape[1]),
    }


@call
def empty(draw: Draw) -> Arguments:
    return {"size": draw.randint(0, 10_000)}


@call
def normalize_weight(draw: Draw) -> Arguments:
    outputs, inputs = draw.size(), draw.size(70)
    per_output = draw.choice((False, True))
    return {
        "outputs": outputs,
        "inputs": inputs,
        "weight": draw.floats(outputs, inputs),
        "gamma": bias(draw, outputs),
        "deviation": draw.choice((0.5, 1.0, 3.0)),
        "per_output": per_output,
        "threads": draw.threads(),
        "normal_out": torch.zeros(outputs, inputs),
        "moments_out": torch.zeros(outputs if per_output else 1, 2, dtype=torch.float64),
    }


@call
def normalize_weight_gradient(draw: Draw) -> Arguments:
    made = normalize_weight(draw)
    normal, moments = made.pop("normal_out"), made.pop("moments_out")
    return {
        **made,
        "moments": moments + 0.5,
        "gradient": draw.floats(*normal.shape),
        "weight_out": normal,
        "gamma_out": torch.zeros(made["outputs"]) if made["gamma"] is not None else None,
    }


@call
def plan_layer(draw: Draw) -> Arguments:
    return {"geometry": tuple(geometry(draw)), "threads": draw.threads()}


def bound() -> set[str]:
    """The functions of the CPU module that Python can call."""
    return {name for name in dir(cpu) if callable(getattr(cpu, name)) and not name.startswith("_")}
