"""A shortcut into a layer's current: checked for the kernels that add it, or joined to the layer's input as further channels."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _checks
from ._cat import cat
from ._geometry import Geometry, shortcut_is_aligned, shortcut_stride
from .ops import anchors
from .ops._library import TILES
from .spikes import SpikeTimes
from .surrogate import Surrogate

Scale = float | Tensor


class Shortcut(NamedTuple):
    """Spikes that go into the current of a layer's outputs one by one, channel c into output c, and the scale of each channel."""

    spikes: SpikeTimes
    scale: Tensor  # [channels]

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows to the spikes or the scale."""
        return self.spikes.requires_grad or self.scale.requires_grad


def checked(spikes: SpikeTimes, weight: Tensor, shortcut: SpikeTimes, scale: Scale, geometry: Geometry) -> Shortcut:
    """The shortcut of a layer on `spikes`; ValueError or TypeError where it does not fit."""
    _checks.instance("shortcut", shortcut, SpikeTimes, "SpikeTimes")
    if shortcut.steps != spikes.steps or shortcut.shape[0] != spikes.shape[0]:
        raise ValueError(f"shortcut must have the samples and steps of spikes, {spikes}, got {shortcut}")
    _checks.same_device("spikes", spikes.times, "shortcut", shortcut.times)
    if weight.dim() == 4:
        _strides(shortcut, geometry)
    elif geometry.pool != 1:
        raise ValueError(f"shortcut needs avg_pool = 1 in a fully connected layer, got {geometry.pool}")
    elif len(shortcut.shape) != 2:
        raise ValueError(f"shortcut must have shape [batch, neurons], got {tuple(shortcut.shape)}")
    channels = shortcut.shape[1]
    if channels > weight.shape[0]:
        raise ValueError(
            f"shortcut must have at most the layer's {weight.shape[0]} outputs as channels, got {tuple(shortcut.shape)}"
        )
    return Shortcut(shortcut, _scales(scale, channels, weight))


def is_fused(spikes: SpikeTimes, surrogate: Surrogate) -> bool:
    """Whether the kernels add a shortcut to the current; else `with_shortcut` joins it to the layer's input."""
    return spikes.device.type in ("cpu", "meta") and isinstance(surrogate, Surrogate) and surrogate.sparse


def with_shortcut(
    spikes: SpikeTimes, weight: Tensor, shortcut: SpikeTimes, scale: Scale, geometry: Geometry
) -> tuple[SpikeTimes, Tensor]:
    """(spikes, weight) of a layer whose current has `scale` times the shortcut's spikes added; arguments checked.

    geometry: of the layer without the shortcut.
    """
    shortcut, scale = checked(spikes, weight, shortcut, scale, geometry)
    maps, channels, place = weight.dim() == 4, shortcut.shape[1], (geometry.pad_y, geometry.pad_x)
    if maps:
        strides = _strides(shortcut, geometry)
        shortcut = shortcut if strides == (1, 1) else shortcut[:, :, :: strides[0], :: strides[1]]
        sizes, stride = (geometry.height, geometry.width), (geometry.stride_y, geometry.stride_x)
        shortcut = _spread(shortcut, sizes, stride, geometry.pool)
    elif len(spikes.shape) == 4:
        spikes = spikes.flatten(1)
    taps = F.pad(scale.diag(), (0, 0, 0, weight.shape[0] - channels))
    if maps:
        rows, columns = geometry.kernel_height, geometry.kernel_width
        around = (place[1], columns - 1 - place[1], place[0], rows - 1 - place[0])
        taps = F.pad((taps * geometry.pool**2)[:, :, None, None], around)
    if spikes.shape[1] % TILES["cpu"] and not channels % TILES["cpu"]:  # full groups first: see `cat`
        return cat([shortcut, spikes]), torch.cat([taps, weight], 1)
    return cat([spikes, shortcut]), torch.cat([weight, taps], 1)


def _strides(shortcut: SpikeTimes, geometry: Geometry) -> tuple[int, int]:
    """The strides at which rows and columns of the shortcut's map are taken; (1, 1) where it has the output's size."""
    out = geometry.out_size
    if len(shortcut.shape) != 4:
        raise ValueError(f"shortcut must have shape [batch, channels, height, width], got {tuple(shortcut.shape)}")
    size = shortcut.shape[2], shortcut.shape[3]
    down, across = shortcut_stride(size, out)
    if (-(-size[0] // down), -(-size[1] // across)) != out:
        raise ValueError(
            f"shortcut must have a map of which every n-th row and column gives the output's {out}, got {size}"
        )
    strides = geometry.pool * geometry.stride_y, geometry.pool * geometry.stride_x
    if size == (geometry.height, geometry.width) and not shortcut_is_aligned(size, out, strides):
        raise ValueError(
            f"shortcut of the size of spikes, {size}, must have its rows and columns where the layer's output has them: "
            f"every {strides[0]}-th row and {strides[1]}-th column do not give {out}; crop it, or pad the layer"
        )
    pads, kernels = (geometry.pad_y, geometry.pad_x), (geometry.kernel_height, geometry.kernel_width)
    if any(2 * pad > kernel - 1 for pad, kernel in zip(pads, kernels, strict=True)):
        raise ValueError(f"shortcut needs a padding of at most half the kernel {kernels}, got {pads}")
    return down, across


def _spread(spikes: SpikeTimes, size: tuple[int, int], stride: tuple[int, int], pool: int) -> SpikeTimes:
    """Each unit of a map at the place of the input that the kernel's cell sees; silent elsewhere."""
    if spikes.shape[2:] == size and stride == (1, 1) and pool == 1:
        return spikes
    steps = [s * pool for s in stride]
    rows, columns = (slice(0, n * step, step) for n, step in zip(spikes.shape[2:], steps, strict=True))
    times = torch.full((*spikes.shape[:2], *size), _checks.SILENT, dtype=torch.uint8, device=spikes.device)
    times = times.contiguous(memory_format=torch.channels_last)
    times[:, :, rows, columns] = spikes.times
    anchor = spikes._dense_anchor()
    if anchor is not None:
        anchor = anchors.spread_anchor(anchor, list(size), steps)
    return SpikeTimes._trusted(times, spikes.steps, anchor)


def _scales(scale: Scale, channels: int, weight: Tensor) -> Tensor:
    """The scale of each channel of the shortcut, [channels]."""
    if isinstance(scale, Tensor) and (scale.dim() or scale.requires_grad):
        scale = _checks.float32("shortcut_scale", scale)
        if scale.dim() > 1 or scale.numel() not in (1, channels, weight.shape[0]):
            raise ValueError(
                f"shortcut_scale must be a number, [{channels}] or [{weight.shape[0]}], got shape {tuple(scale.shape)}"
            )
        _checks.same_device("shortcut_scale", scale, "weight", weight)
        return scale.expand(channels) if scale.numel() == 1 else scale[:channels]
    number = _checks.real("shortcut_scale", scale)
    return weight.new_full((channels,), number)
