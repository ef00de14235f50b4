"""Augmentation as batched tensor operations on uint8 images; all draws of an epoch are made at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .config import Augmentation

_SMALLEST = 0.02  # least share of the image that an erased rectangle covers
_LONGEST = 3.0  # largest ratio of its sides


@dataclass(frozen=True)
class Draws:
    """What happens to each of N images.

    Attributes:
        shift: int64 [N, 2], rows and columns in -s..s that the image moves down and right; None for no shifts.
        flip: bool [N], mirrored left and right; None for no flips.
        box: int64 [N, 4], (top, bottom, left, right): erased rows top..bottom-1, columns left..right-1; None: none.
    """

    shift: Tensor | None
    flip: Tensor | None
    box: Tensor | None

    def __getitem__(self, index: slice | Tensor) -> Draws:
        return Draws(*(None if x is None else x[index] for x in (self.shift, self.flip, self.box)))

    def to(self, device: torch.device) -> Draws:
        """The same draws on another device."""
        return Draws(*(None if x is None else x.to(device) for x in (self.shift, self.flip, self.box)))


def draw(augmentation: Augmentation, count: int, size: tuple[int, int], generator: torch.Generator) -> Draws:
    """Draw what happens to `count` images of `size` (height, width)."""
    shift = flip = box = None
    if augmentation.shift:
        reach = augmentation.shift
        shift = torch.randint(-reach, reach + 1, (count, 2), generator=generator)
    if augmentation.flip:
        flip = torch.rand(count, generator=generator) < 0.5
    if augmentation.erase:
        box = _boxes(augmentation, count, size, generator)
    return Draws(shift, flip, box)


def _boxes(augmentation: Augmentation, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Rectangles of uniform area and log-uniform ratio of sides, anywhere inside (as in Zhong et al., 1708.04896)."""
    height, width = size
    chosen, area, ratio, down, right = torch.rand(5, count, generator=generator)
    area = (_SMALLEST + (augmentation.erase_area - _SMALLEST) * area) * (height * width)
    ratio = _LONGEST ** (2 * ratio - 1)
    rows = (area * ratio).sqrt().round().clamp(1, height)
    columns = (area / ratio).sqrt().round().clamp(1, width)
    top = (down * (height - rows + 1)).floor()
    left = (right * (width - columns + 1)).floor()
    box = torch.stack([top, top + rows, left, left + columns], dim=1).long()
    return box * (chosen < augmentation.erase)[:, None]  # an empty rectangle where none was chosen


def apply(images: Tensor, draws: Draws) -> Tensor:
    """The changed images: flipped, then shifted, then erased.

    Args:
        images: uint8 [B, C, H, W]; it is not changed.
        draws: of B images, on the same device.
    """
    if draws.shift is not None or draws.flip is not None:
        images = _move(images, draws.shift, draws.flip)
    if draws.box is not None:
        images = _erase(images, draws.box)
    return images


def _move(images: Tensor, shift: Tensor | None, flip: Tensor | None) -> Tensor:
    """Both as one gather: for each output pixel the place it comes from, in the image padded with zeros."""
    batch, channels, height, width = images.shape
    margin = 0 if shift is None else int(shift.abs().max()) if batch else 0
    padded = F.pad(images, (margin,) * 4).flatten(2)
    stride = width + 2 * margin
    row = torch.arange(height, device=images.device)[:, None] + margin
    column = torch.arange(width, device=images.device)[None, :] + margin
    straight = (row * stride + column).flatten()
    if flip is None:
        place = straight.expand(batch, -1)
    else:
        mirrored = (row * stride + column.flip(1)).flatten()
        place = torch.where(flip[:, None], mirrored, straight)
    if shift is not None:
        across = shift[:, 1] if flip is None else torch.where(flip, -shift[:, 1], shift[:, 1])
        place = place - (shift[:, 0] * stride + across)[:, None]
    moved = padded.gather(2, place[:, None, :].expand(-1, channels, -1))
    return moved.view(batch, channels, height, width)


def _erase(images: Tensor, box: Tensor) -> Tensor:
    height, width = images.shape[2:]
    row = torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    top, bottom, left, right = box[:, :, None].unbind(1)
    rows = (row >= top) & (row < bottom)
    columns = (column >= left) & (column < right)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)
