"""Average pools in the weights of the layer after them, such as pools of one direction."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from .._base import checks

Layer = TypeVar("Layer", bound=nn.Module)
Shape = tuple[int, int, int]


class Averaging(NamedTuple):
    """How a weight on averages becomes one on the map before them: each number is shared by the units of a window.

    kernel_size: of the window. shape: (C, H, W) of the map before a fully connected layer, None before a convolution.
    """

    kernel_size: tuple[int, int]
    shape: Shape | None

    def __call__(self, weight: Tensor) -> Tensor:
        """[O, C, K, L] as [O, C, K rows, L columns]; [O, N] as [O, N rows columns]."""
        rows, columns = self.kernel_size
        if self.shape is not None:
            channels, height, width = self.shape
            weight = weight.view(-1, channels, height // rows, width // columns)
        shared = (weight / (rows * columns)).repeat_interleave(rows, 2).repeat_interleave(columns, 3)
        return shared if self.shape is None else shared.flatten(1)


def average_before(layer: Layer, kernel_size: int | tuple[int, int], shape: Shape | None = None) -> Layer:
    """Tie a layer's weights, in place, so that it computes what it would after an average pool, such as one of one direction.

    The layer takes the map before the pool. One trained number stands for the weights of a window, which are this number
    divided by the window's size; `fold` makes them separate. `avg_pool` of a layer, for k x k, is faster. In a net's string
    the pool is "AP1x2".

    Parameters
    ----------
    layer : a convolution, whose kernel, stride and padding are multiples of kernel_size, or a fully connected layer.
    kernel_size : k, or (rows, columns), which is the pool's stride, too.
    shape : (C, H, W) of the map before a fully connected layer, H and W multiples of kernel_size.

    Returns
    -------
    Synapses : the layer, with a smaller `weight`.

    Raises
    ------
    ValueError : for a pool that does not divide the layer's sizes, and for a layer that is tied already.

    Examples
    --------
    >>> layer = average_before(nn.WindowedConv2d(3, 5, (3, 6), stride=(1, 2), padding=(1, 2), steps=16), (1, 2))
    >>> layer.weight.shape, layer.effective_weight_and_bias()[0].shape
    (torch.Size([5, 3, 3, 3]), torch.Size([5, 3, 3, 6]))
    """
    synapses: Any = layer  # a `Synapses`
    rows, columns = window = checks.pair("kernel_size", kernel_size, 1)
    if getattr(layer, "averaging", layer) is not None:
        raise ValueError(f"layer must be one of firstspike.nn whose weights are not tied, got {layer}")
    if synapses.weight.dim() == 4:
        shape, sizes = None, (synapses.weight.shape[2:], synapses.stride, synapses.padding)
    elif shape is not None and len(shape) == 3 and math.prod(shape) == synapses.weight.shape[1]:
        shape, sizes = (shape[0], shape[1], shape[2]), (shape[1:],)  # type: ignore[assignment]
    else:
        raise ValueError(f"shape must be (C, H, W) of the {synapses.weight.shape[1]} neurons before the layer, got {shape}")
    if any(size % part for pair in sizes for size, part in zip(pair, window, strict=True)):
        raise ValueError(f"kernel_size must divide the layer's kernel, stride and padding, or H and W, got {window}")
    with torch.no_grad():  # the weights keep their variance
        maps = synapses.weight.view(len(synapses.weight), *(synapses.weight.shape[1:] if shape is None else shape))
        sums = maps.unflatten(3, (-1, columns)).sum(4).unflatten(2, (-1, rows)).sum(3) * math.sqrt(rows * columns)
    synapses.weight = nn.Parameter(sums if shape is None else sums.flatten(1))
    synapses.averaging = Averaging(window, shape)
    return layer
