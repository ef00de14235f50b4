"""The weights of a layer as pictures."""

from __future__ import annotations

import math
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .._base.checks import integer, pair
from ..nn import DirectConv2d, DirectLinear, Synapse
from ..report import WIDTH, figure, style

#: Diverging, and told apart by colour-blind readers: blue below zero, red above.
_COLOURS = "RdBu_r"


@torch.no_grad()
def weights(
    layer: Synapse, *, channel: int = 0, shape: tuple[int, int] | None = None, most: int = 64, columns: int = 8
) -> Figure:
    """The weights that act on a layer's input, one picture per output: red excites, blue inhibits, white is zero.

    layer: a layer of `firstspike.nn` with a weight; normalisation and affine are folded in, and a pooled
    input's weight is that of one spike. channel: which input channel
    of a convolution is shown. shape: (height, width) of a fully connected layer's input; by default the square that has
    its size. most: at most so many outputs, the first ones. columns: pictures per row. ValueError where the input of a
    fully connected layer is no square and `shape` is missing.

    Examples:
        >>> net = models.mlp("64-32-10", steps=8)
        >>> plot.weights(net.layers[0], most=16).savefig("weights.svg")
    """
    if not isinstance(layer, Synapse):
        raise TypeError(f"layer must be a layer of firstspike.nn with a weight, got {type(layer).__name__}")
    most, columns = integer("most", most, 1), integer("columns", columns, 1)
    acting = layer.effective_weight_and_bias()[0].detach().cpu() / getattr(layer, "avg_pool", 1) ** 2  # of one unit
    pictures = _pictures(acting, channel, shape)[:most]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    limit = float(pictures.abs().max()) or 1.0
    cell = WIDTH / (columns + 0.8)
    with style():
        drawn, grid = figure(WIDTH, rows * cell + 0.4, nrows=rows, ncols=columns, squeeze=False)
        image: Any = None
        for axis, number in zip(grid.flat, range(rows * columns), strict=True):
            axis.set_axis_off()
            if number < len(pictures):
                image = axis.imshow(
                    pictures[number].numpy(), cmap=_COLOURS, vmin=-limit, vmax=limit, interpolation="nearest"
                )
        bar = drawn.colorbar(image, ax=grid, fraction=0.04, pad=0.02)
        what, per = (
            ("current", "unit of input") if isinstance(layer, DirectLinear | DirectConv2d) else ("potential", "spike")
        )
        unit = f"{what if getattr(layer, 'theta', None) is None else 'thresholds'} per {per}"
        bar.set_label(f"weight ({unit})")
        of = f", input channel {channel}" if layer.weight.dim() == 4 else ""
        drawn.suptitle(f"Outputs 0 to {len(pictures) - 1} of {len(layer.weight)}{of}", fontsize=10)
    return drawn


def _pictures(weight: Tensor, channel: int, shape: tuple[int, int] | None) -> Tensor:
    """[outputs, height, width]"""
    if weight.dim() == 4:
        integer("channel", channel, 0, weight.shape[1] - 1)
        return weight[:, channel]
    side = math.isqrt(weight.shape[1])
    height, width = (side, side) if shape is None else pair("shape", shape, 1)
    if height * width != weight.shape[1]:
        given = f"got {height} x {width}" if shape else "give it"
        raise ValueError(f"shape must be (height, width) with {weight.shape[1]} elements, {given}")
    return weight.reshape(-1, height, width)
