"""Good calls of the kernels of neurons without synapses; importing this registers them in `calls.CPU`."""

from __future__ import annotations

import torch

from firstspike._base.kernels import cpu

from .calls import Arguments, call, places
from .draws import Draw


@call
def ramp(draw: Draw) -> Arguments:
    sites, channels, steps = places(draw)
    return {
        "sites": sites,
        "channels": channels,
        "steps": steps,
        "neuron": draw.neuron(),
        "current": draw.floats(sites, channels),
        "record": draw.some(0.5),
        "threads": draw.threads(),
        "times_out": torch.zeros(sites, channels, dtype=torch.uint8),
    }


@call
def fire_membranes(draw: Draw) -> Arguments:
    made = ramp(draw)
    current = made.pop("current")
    return {**made, "membrane": draw.floats(made["steps"], *current.shape)}


@call
def ramp_gradient(draw: Draw) -> Arguments:
    sites, channels, steps = places(draw)
    offset, place = draw.support(sites, channels, steps, cpu.tile)
    return {
        "sites": sites,
        "channels": channels,
        "steps": steps,
        "neuron": draw.neuron(),
        "support": (offset, place),
        "slope": draw.floats(place.shape[1]),
        "gradient": draw.floats(place.shape[1]),
        "threads": draw.threads(),
        "gradient_out": torch.zeros(sites, channels),
    }


@call
def linear_latency(draw: Draw) -> Arguments:
    sites, channels, steps = places(draw)
    return {
        "steps": steps,
        "x": draw.floats(sites, channels),
        "threads": draw.threads(),
        "times": torch.zeros(sites, channels, dtype=torch.uint8),
    }
