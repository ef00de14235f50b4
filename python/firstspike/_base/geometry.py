"""A layer's geometry as the kernels take it, from checked shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Size, Tensor

from . import checks


class Geometry(NamedTuple):
    """Which input unit reaches which output neuron through which weight: the members of `Layer` in cpp/core/layer.h.

    The operators take it as SymInt[], so inside them it may arrive as a list: `named` names its numbers.
    """

    batch: int
    height: int  # of the input map, before pooling; 1 where the input is flat
    width: int
    channels: int
    pool: int
    kernel_height: int  # in pooled cells
    kernel_width: int
    stride_y: int
    stride_x: int
    pad_y: int
    pad_x: int
    outputs: int
    steps: int

    @property
    def in_sites(self) -> int:
        """Number of places of the input, over all samples."""
        return self.batch * self.height * self.width

    @property
    def in_units(self) -> int:
        """Number of input units, over all samples."""
        return self.in_sites * self.channels

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of the output map."""
        return (  # not by `out_size`: every call of a layer asks for it
            (self.height // self.pool + 2 * self.pad_y - self.kernel_height) // self.stride_y + 1,
            (self.width // self.pool + 2 * self.pad_x - self.kernel_width) // self.stride_x + 1,
        )

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """Shape of the output in site order, [B, H, W, C]."""
        return (self.batch, *self.out_size, self.outputs)

    @property
    def out_sites(self) -> int:
        """Number of places of the output, over all samples."""
        height, width = self.out_size
        return self.batch * height * width


def named(numbers: Sequence[int]) -> Geometry:
    """A geometry as the operators get it, with names."""
    return numbers if isinstance(numbers, Geometry) else Geometry(*numbers)


def shortcut_stride(size: tuple[int, int], out: tuple[int, int]) -> tuple[int, int]:
    """The strides at which rows and columns of a shortcut's map of this size are taken for an output of size `out`."""
    return max(1, -(-size[0] // out[0])), max(1, -(-size[1] // out[1]))


def shortcut_is_aligned(size: tuple[int, ...], out: tuple[int, ...], strides: tuple[int, int]) -> bool:
    """Whether the rows and columns that a shortcut takes are those at which a layer or block with these strides has its sites."""
    stride = shortcut_stride((size[0], size[1]), (out[0], out[1]))
    counts = all(-(-have // every) == want for have, every, want in zip(size, stride, out, strict=True))
    return counts and all(want == 1 or every == stride for want, every, stride in zip(out, stride, strides, strict=True))


def out_size(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Height or width of a convolution's output."""
    return (size + 2 * padding - kernel) // stride + 1


def in_sizes(out: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """The least and the largest height or width of a map of which a convolution makes `out` rows or columns."""
    least = (out - 1) * stride + kernel - 2 * padding
    return least, least + stride - 1


def padding_of(value: object, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """A padding as (vertical, horizontal); "same" keeps the size of a map, which odd kernels do without a stride."""
    if value != "same":
        return checks.pair("padding", value, 0)
    if stride != (1, 1) or not all(size % 2 for size in kernel):
        raise ValueError(f'padding = "same" needs a stride of 1 and odd kernel sizes, got stride {stride} and kernel {kernel}')
    return kernel[0] // 2, kernel[1] // 2


def pool_of(shape: Size | tuple[int, ...], avg_pool: int) -> int:
    """The window of a pool that fits into spikes of that shape, [B, N] or [B, C, H, W]."""
    pool = checks.integer("avg_pool", avg_pool, 1)
    sizes = shape[2:] or (1, 1)
    if pool > min(sizes):
        raise ValueError(f"avg_pool must not be larger than the map, {tuple(sizes)}, got {pool}")
    return pool


def geometry_of(
    shape: Size | tuple[int, ...],
    weight: Tensor,
    steps: int,
    avg_pool: int = 1,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
) -> Geometry:
    """The geometry of a layer on spikes of `shape`: a convolution for a weight of 4 dimensions, else fully connected.

    A fully connected layer is a convolution whose kernel covers the whole pooled map. Raises ValueError where spikes and weight
    do not fit.
    """
    pool = pool_of(shape, avg_pool)
    batch, channels, height, width = shape if len(shape) == 4 else (*shape, 1, 1)
    rows, columns = height // pool, width // pool
    if weight.dim() == 4:
        outputs, taken, *kernel = weight.shape
        given, what = channels, "channels"
    else:
        stride, padding, kernel = (1, 1), (0, 0), [rows, columns]
        outputs, taken = weight.shape
        given, what = channels * rows * columns, "features"
    if taken != given:
        after = f" after avg_pool {pool}" if pool > 1 else ""
        raise ValueError(
            f"spikes and weight must fit: spikes of shape {tuple(shape)} have {given} {what}{after}, "
            f"a weight of shape {tuple(weight.shape)} takes {taken}"
        )
    padded = rows + 2 * padding[0], columns + 2 * padding[1]
    if 0 in weight.shape or padded[0] < kernel[0] or padded[1] < kernel[1]:
        raise ValueError(f"weight of shape {tuple(weight.shape)} must fit into the pooled and padded map, {padded}")
    return Geometry(batch, height, width, channels, pool, kernel[0], kernel[1], *stride, *padding, outputs, steps)


def layer_geometry(layer: Any, shape: Size | tuple[int, ...], weight: Tensor) -> Geometry:
    """The geometry of a layer with this weight on an input of `shape`; ValueError where it does not take such an input."""
    if weight.dim() == 2:
        return geometry_of(shape, weight, layer.steps, getattr(layer, "avg_pool", 1))
    if len(shape) != 4:
        raise ValueError("it takes maps (channels, height, width)")
    return geometry_of(shape, weight, layer.steps, getattr(layer, "avg_pool", 1), layer.stride, layer.padding)


def to_sites(x: Tensor, lead: int = 1) -> Tensor:
    """[B, N], [B, C, H, W] or [B, ...] in site order, contiguous [B, H, W, C]; H = W = 1 where there is no map.

    lead: 2 for trains [T, B, ...].
    """
    if x.dim() == lead + 3:
        return (x.permute(0, 2, 3, 1) if lead == 1 else x.movedim(lead, -1)).contiguous()
    if lead == 1 and x.dim() == 2 and x.is_contiguous():
        return x.view(x.shape[0], 1, 1, x.shape[1])
    return x.reshape(*x.shape[:lead], 1, 1, math.prod(x.shape[lead:])).contiguous()


def anchor_to_sites(anchor: Tensor) -> Tensor:
    """A dense anchor [T, B, ...] in site order, [T, B, H, W, C]: a view, for an expanded zero has no memory to reorder."""
    if anchor.dim() == 5:
        return anchor.movedim(2, -1)
    return anchor.reshape(*anchor.shape[:2], 1, 1, math.prod(anchor.shape[2:]))


def from_sites(x: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """The inverse of `to_sites` for times of shape [B, ...]; leading dimensions of `x` before the last four stay."""
    if len(shape) == 4:
        return x.permute(0, 3, 1, 2) if x.dim() == 4 else x.movedim(-1, -3)
    if x.dim() == 4:
        return x.view(shape)
    return x.reshape(*x.shape[:-4], *shape)


def pixels(x: Tensor, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """The units of maps [..., H, W] that a kernel of one pixel sees, so that its product needs no stride.

    With one, oneDNN (torch 2.13) writes past its buffer in the weight gradient (docs/start/troubleshooting.md).
    """
    (rows, columns), (above, beside) = stride, padding
    return F.pad(x, (beside, beside, above, above))[..., ::rows, ::columns]


def one_channel(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """Maps [B, 1, H, W] in channels-last memory, so that torch's convolution gives its output in that, without a copy.

    One channel is in both memory formats at once, and torch would take the other. Where a stride leaves one column, oneDNN
    (torch 2.13, AVX-512) reads outside the data of maps that are marked as channels-last; these are not marked.
    """
    maps = x[:, 0].contiguous()
    column = stride[1] > 1 and out_size(x.shape[3], weight.shape[3], stride[1], padding[1]) == 1
    return maps.unsqueeze(1) if column else maps.unsqueeze(3).permute(0, 3, 1, 2)
