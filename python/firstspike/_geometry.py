"""A layer's geometry as the kernels take it, the numbers of `Layer` in cpp/core/layer.h, from checked shapes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Size, Tensor

from . import _checks


def pool_of(shape: Size | tuple[int, ...], avg_pool: int) -> int:
    """The window of a pool that fits into spikes of that shape, [B, N] or [B, C, H, W]."""
    pool = _checks.integer("avg_pool", avg_pool, 1)
    sizes = shape[2:] or (1, 1)
    if pool > min(sizes):
        raise ValueError(f"avg_pool must not be larger than the map, {tuple(sizes)}, got {pool}")
    return pool


def linear(shape: Size | tuple[int, ...], weight: Tensor, pool: int, steps: int) -> list[int]:
    """A fully connected layer as the convolution whose kernel covers the whole map."""
    batch, channels, *size = shape
    height, width = size or (1, 1)
    kernel_y, kernel_x = height // pool, width // pool
    features = channels * kernel_y * kernel_x
    outputs, columns = weight.shape
    if columns != features or outputs < 1 or features < 1:
        raise ValueError(
            f"weight must have shape [outputs, {features}] for spikes of shape {tuple(shape)} and "
            f"avg_pool {pool}, got {tuple(weight.shape)}"
        )
    return [batch, height, width, channels, pool, kernel_y, kernel_x, 1, 1, 0, 0, outputs, steps]


def convolution(
    shape: Size | tuple[int, ...],
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    pool: int,
    steps: int,
) -> list[int]:
    """A convolution of spikes [B, C, H, W]; stride and padding are (vertical, horizontal), of the pooled map."""
    batch, channels, height, width = shape
    if weight.shape[1] != channels:
        raise ValueError(
            f"weight must have shape [outputs, {channels}, ...] for spikes of shape {tuple(shape)}, "
            f"got {tuple(weight.shape)}"
        )
    padded = (height // pool + 2 * padding[0], width // pool + 2 * padding[1])
    if 0 in weight.shape or padded[0] < weight.shape[2] or padded[1] < weight.shape[3]:
        raise ValueError(f"weight of shape {tuple(weight.shape)} must fit into the pooled and padded map, {padded}")
    return [batch, height, width, channels, pool, *weight.shape[2:], *stride, *padding, weight.shape[0], steps]


def out_size(geometry: Sequence[int]) -> tuple[int, int]:
    """Height and width of a layer's output."""
    _, height, width, _, pool, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, _, _ = geometry
    return (
        (height // pool + 2 * pad_y - kernel_y) // stride_y + 1,
        (width // pool + 2 * pad_x - kernel_x) // stride_x + 1,
    )
