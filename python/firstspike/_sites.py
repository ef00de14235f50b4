"""Site order, [B, H, W, C], in which the operators take spikes and their anchors."""

from __future__ import annotations

import math

import torch
from torch import Tensor


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
