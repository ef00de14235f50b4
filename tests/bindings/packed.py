"""Good calls of layers that are packed once, and of directly coded convolutions."""

from __future__ import annotations

import torch

from firstspike._base.geometry import Geometry

from .calls import Arguments, bias, call, geometry, weight
from .draws import Draw


@call
def direct_convolution_gradient(draw: Draw) -> Arguments:
    g = geometry(draw)
    g = g._replace(pool=1, kernel_height=min(g.kernel_height, g.height), kernel_width=min(g.kernel_width, g.width))
    return {
        "geometry": tuple(g),
        "data": draw.floats(g.batch, g.height, g.width, g.channels),
        "gradient": draw.floats(*g.out_shape),
        "threads": draw.threads(),
        "weight_out": torch.zeros(g.outputs, g.channels, g.kernel_height, g.kernel_width),
        "bias_out": torch.zeros(g.outputs) if draw.some(0.5) else None,
    }


def prepacked(draw: Draw) -> tuple[Arguments, Arguments]:
    """The arguments of the constructor and of `run`: one layer, or a linear one behind it."""
    g = geometry(draw)
    layers = [(tuple(g), draw.neuron(), draw.some(0.7), weight(draw, g), bias(draw, g.outputs))]
    _, height, width, channels = g.out_shape
    if layers[0][2] and draw.some(0.5):
        g = Geometry(g.batch, height, width, channels, 1, height, width, 1, 1, 0, 0, draw.size(40), g.steps)
        layers.append((tuple(g), draw.neuron(), draw.some(0.7), weight(draw, g), bias(draw, g.outputs)))
    first, last, batch = Geometry(*layers[0][0]), g._replace(batch=draw.randint(0, 3)), 0
    batch = last.batch
    times = draw.times(batch, first.height, first.width, first.channels, steps=first.steps)
    fires = layers[-1][2]
    out = torch.zeros(last.out_shape, dtype=torch.uint8) if fires else torch.zeros(last.steps, *last.out_shape)
    return (
        {"layers": layers, "threads": draw.threads()},
        {"batch": batch, "times": times, "threads": draw.threads(), "out": out},
    )
