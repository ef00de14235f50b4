"""Augmentation as batched tensor operations on images; all draws of an epoch are made at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .config import Augmentation

_SMALLEST = 0.02  # least share of the image that an erased rectangle covers
_LONGEST = 3.0  # largest ratio of its sides


@dataclass(frozen=True)
class Draws:
    """How each of N images is changed; None: not at all.

    shift: int64 [N, 2], rows and columns down and right. flip: bool [N]. box: int64 [N, 4], erased from top to bottom - 1 and
    from left to right - 1. border: as in `Augmentation`.
    """

    shift: Tensor | None
    flip: Tensor | None
    box: Tensor | None
    border: str = "zeros"

    def __getitem__(self, index: slice | Tensor) -> Draws:
        return self._each(lambda x: x[index])

    def to(self, device: torch.device) -> Draws:
        """The same draws on another device."""
        return self._each(lambda x: x.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draws:
        shift, flip, box = (None if x is None else change(x) for x in (self.shift, self.flip, self.box))
        return Draws(shift, flip, box, self.border)


def draw(augmentation: Augmentation, count: int, size: tuple[int, int], generator: torch.Generator) -> Draws:
    """Draw the changes of `count` images of `size` (height, width), except alternating flips (`epoch_batches`)."""
    shift = flip = box = None
    if augmentation.shift:
        most = augmentation.shift
        shift = torch.randint(-most, most + 1, (count, 2), generator=generator)
    if augmentation.flip is True:
        flip = torch.rand(count, generator=generator) < 0.5
    if augmentation.erase:
        box = _boxes(augmentation, count, size, generator)
    return Draws(shift, flip, box, augmentation.border)


def _boxes(augmentation: Augmentation, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Rectangles of uniform area and log-uniform ratio of sides, anywhere inside (as in Zhong et al., arXiv 1708.04896)."""
    height, width = size
    chosen, area, ratio, down, right = torch.rand(5, count, generator=generator)
    area = (_SMALLEST + (augmentation.erase_area - _SMALLEST) * area) * (height * width)
    ratio = _LONGEST ** (2 * ratio - 1)
    rows = (area * ratio).sqrt().round().clamp(1, height)
    columns = (area / ratio).sqrt().round().clamp(1, width)
    top = (down * (height - rows + 1)).floor()
    left = (right * (width - columns + 1)).floor()
    box = torch.stack([top, top + rows, left, left + columns], dim=1).long()
    box *= (chosen < augmentation.erase)[:, None]  # an empty rectangle where none was chosen
    return box


def apply(images: Tensor, draws: Draws, fill: int = 0) -> Tensor:
    """The images [B, C, H, W] flipped, then shifted, then erased.

    fill: value of pixels that are erased, or that a shift brings in with border "zeros".
    """
    if draws.shift is not None or draws.flip is not None:
        images = _move(images, draws, fill)
    if draws.box is not None:
        images = _erase(images, draws.box, fill)
    return images


def _move(images: Tensor, draws: Draws, fill: int) -> Tensor:
    """Flip and shift with a few block copies for the whole batch.

    In an image padded with m pixels on each side, a shifted image is a contiguous run, read with the same strides.
    """
    shift, flip = draws.shift, draws.flip
    batch, channels, height, width = images.shape
    if not batch:
        return images
    start = torch.arange(batch, device=images.device)
    if flip is not None:
        images = torch.cat([images, images.flip(3)])
        start = start + flip * batch
    if shift is None:
        return images.index_select(0, start)
    margin = int(shift.abs().max())
    how = ("reflect", None) if draws.border == "reflect" else ("constant", fill)
    padded = F.pad(images, (margin,) * 4, *how).flatten()
    row = width + 2 * margin
    plane = row * (height + 2 * margin)
    length = (channels - 1) * plane + (height - 1) * row + width
    start = start * (channels * plane) + (margin - shift[:, 0]) * row + (margin - shift[:, 1])
    runs = padded.as_strided((padded.numel() - length + 1, length), (1, 1)).index_select(0, start)
    return runs.as_strided((batch, channels, height, width), (length, plane, row, 1)).contiguous()


def _erase(images: Tensor, box: Tensor, fill: int) -> Tensor:
    height, width = images.shape[2:]
    row = torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    top, bottom, left, right = box[:, :, None].unbind(1)
    rows, columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
    return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], fill)
