"""Good calls of the kernels that leave some spikes out, dropout and pools; importing this registers them in `calls.CPU`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from firstspike._base.kernels import cpu

from .calls import Arguments, call, places
from .draws import Draw


def seed(draw: Draw) -> Tensor:
    """Of dropout."""
    return torch.tensor([draw.getrandbits(62)])


def gradient_of(draw: Draw, steps: int, *sizes: int) -> tuple[tuple[Tensor, Tensor] | None, tuple[int, ...]]:
    """(support, shape) of a gradient of neurons [*sites, channels]: at a support, or at every step."""
    if not draw.some(0.5):
        return None, (steps, *sizes)
    support = draw.support(math.prod(sizes[:-1]), sizes[-1], steps, cpu.tile)
    return support, support[1].shape[1:]


@call
def drop_spikes(draw: Draw) -> Arguments:
    sites, channels, steps = places(draw)
    return {
        "sites": sites,
        "channels": channels,
        "times": draw.times(sites, channels, steps=steps),
        "seed": seed(draw),
        "keep": draw.randint(0, 65536),
        "threads": draw.threads(),
        "times_out": torch.zeros(sites, channels, dtype=torch.uint8),
    }


@call
def drop_gradient(draw: Draw) -> Arguments:
    sites, channels, steps = places(draw)
    support, shape = gradient_of(draw, steps, sites, channels)
    return {
        "steps": steps,
        "sites": sites,
        "channels": channels,
        "gradient": draw.floats(*shape),
        "support": support,
        "seed": seed(draw),
        "keep": draw.randint(0, 65536),
        "threads": draw.threads(),
        "gradient_out": torch.zeros(shape),
    }


def maps(draw: Draw) -> tuple[tuple[int, int, int, int], int]:
    """Sizes of maps, and of the windows that they are cut into."""
    sizes = (draw.randint(0, 2), draw.randint(0, 7), draw.randint(1, 7), draw.choice((1, 3, 33, 70)))
    return sizes, draw.randint(1, 4)


@call
def distinct_spikes(draw: Draw) -> Arguments:
    sizes, pool = maps(draw)
    return {
        "sizes": sizes,
        "pool": pool,
        "times": draw.times(*sizes, steps=draw.steps()),
        "threads": draw.threads(),
        "times_out": torch.zeros(sizes, dtype=torch.uint8),
    }


@call
def distinct_gradient(draw: Draw) -> Arguments:
    (sizes, pool), steps = maps(draw), draw.steps()
    support, shape = gradient_of(draw, steps, *sizes)
    return {
        "steps": steps,
        "sizes": sizes,
        "pool": pool,
        "gradient": draw.floats(*shape),
        "times": draw.times(*sizes, steps=steps),
        "support": support,
        "threads": draw.threads(),
        "gradient_out": torch.zeros(shape),
    }


@call
def earliest_times(draw: Draw) -> Arguments:
    made = distinct_spikes(draw)
    (batch, height, width, channels), pool = made["sizes"], made["pool"]
    pooled = torch.zeros(batch, height // pool, width // pool, channels, dtype=torch.uint8)
    return {**made, "times_out": pooled, "winner_out": pooled.clone()}


@call
def earliest_support(draw: Draw) -> Arguments:
    sizes, pool = maps(draw)
    batch, height, width, channels = sizes
    return {
        "sizes": sizes,
        "pool": pool,
        "winner": draw.times(batch, height // pool, width // pool, channels, steps=pool * pool),
        "support": draw.support(math.prod(sizes[:3]), channels, draw.steps(), cpu.tile),
        "threads": draw.threads(),
    }
