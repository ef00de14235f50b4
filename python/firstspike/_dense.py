"""The dense path: currents of trains [T, B, ...] by torch's own products, where a surrogate or an input needs every step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _geometry
from .ops.direct import direct_convolution

_NO_CONTEXT = nullcontext()


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """The context in which autocast is off: the membrane is float32 whatever the caller's autocast."""
    kind = device.type
    on = kind != "meta" and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else _NO_CONTEXT


def flat_current(x: Tensor, weight: Tensor, bias: Tensor | None, avg_pool: int) -> Tensor:
    """Current [T, B, O] of a dense train [T, B, N], or [T, B, C, H, W] pooled, then flattened."""
    _geometry.linear(x.shape[1:], weight, _window(x, avg_pool), len(x))  # refuses what does not fit
    x = _pooled(x, avg_pool)
    with full_precision(x.device):
        return F.linear(x.flatten(2), weight, bias)


def map_current(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int], avg_pool: int
) -> Tensor:
    """Current [T, B, O, H', W'] of a dense train [T, B, C, H, W], pooled, then convolved."""
    window = _window(x, avg_pool)
    _geometry.convolution(x.shape[1:], weight, stride, padding, window, len(x))  # refuses what does not fit
    x = _pooled(x, avg_pool)
    convolve = direct_convolution if x.is_cuda else F.conv2d  # on CUDA torch's own rounds to TF32
    with full_precision(x.device):
        return torch.unflatten(convolve(x.flatten(0, 1), weight, bias, stride, padding), 0, x.shape[:2])


def _window(x: Tensor, factor: int) -> int:
    if factor != 1 and x.dim() != 5:
        raise ValueError(f"avg_pool = {factor} needs maps [batch, channels, height, width], got {tuple(x.shape[1:])}")
    return _geometry.pool_of(x.shape[1:], factor)


def _pooled(x: Tensor, factor: int) -> Tensor:
    return x if factor == 1 else torch.unflatten(F.avg_pool2d(x.flatten(0, 1), factor), 0, x.shape[:2])
