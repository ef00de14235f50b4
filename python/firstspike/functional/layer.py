"""How the functions call their operators: checked arguments, shortcuts, and the dense path of surrogates that need every step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import ops
from .._base import checks
from .._base.geometry import (
    Geometry,
    anchor_to_sites,
    conv_geometry,
    from_sites,
    linear_geometry,
    pool_of,
    shortcut_is_aligned,
    shortcut_stride,
    to_sites,
)
from ..ops import anchors
from ..ops._support import TILES
from ..ops.direct import direct_convolution
from ..spikes import SpikeTimes, Support, cat
from ..surrogate import KINDS, Surrogate

_NO_CONTEXT = nullcontext()


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """The context in which autocast is off: the membrane is float32 whatever the caller's autocast."""
    kind = device.type
    on = kind != "meta" and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else _NO_CONTEXT


def flat_current(x: Tensor, weight: Tensor, bias: Tensor | None, avg_pool: int) -> Tensor:
    """Current [T, B, O] of a dense train [T, B, N], or [T, B, C, H, W] pooled, then flattened."""
    linear_geometry(x.shape[1:], weight, _window(x, avg_pool), len(x))  # refuses what does not fit
    x = _pooled(x, avg_pool)
    with full_precision(x.device):
        return F.linear(x.flatten(2), weight, bias)


def map_current(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int], avg_pool: int
) -> Tensor:
    """Current [T, B, O, H', W'] of a dense train [T, B, C, H, W], pooled, then convolved."""
    window = _window(x, avg_pool)
    conv_geometry(x.shape[1:], weight, stride, padding, window, len(x))  # refuses what does not fit
    x = _pooled(x, avg_pool)
    convolve = direct_convolution if x.is_cuda else F.conv2d  # on CUDA torch's own rounds to TF32
    with full_precision(x.device):
        return torch.unflatten(convolve(x.flatten(0, 1), weight, bias, stride, padding), 0, x.shape[:2])


def _window(x: Tensor, factor: int) -> int:
    if factor != 1 and x.dim() != 5:
        raise ValueError(f"avg_pool = {factor} needs maps [batch, channels, height, width], got {tuple(x.shape[1:])}")
    return pool_of(x.shape[1:], factor)


def _pooled(x: Tensor, factor: int) -> Tensor:
    return x if factor == 1 else torch.unflatten(F.avg_pool2d(x.flatten(0, 1), factor), 0, x.shape[:2])


_KINDS = {kind: float(number) for number, kind in enumerate(KINDS)}


def _per_threshold(
    weight: Tensor, bias: Tensor | None, shortcut: Shortcut | None, threshold: float | Tensor
) -> tuple[Tensor, Tensor | None, Shortcut | None, float]:
    """Weight, bias, shortcut and threshold; thresholds [O] divide the first three and become 1, a number changes nothing."""
    if not isinstance(threshold, Tensor) or threshold.dim() == 0:
        return weight, bias, shortcut, threshold  # type: ignore[return-value]  # checked in `_neuron`
    threshold = checks.thresholds(threshold, weight.shape[0])
    checks.same_device("weight", weight, "threshold", threshold)
    if shortcut is not None:
        shortcut = shortcut._replace(scale=shortcut.scale / threshold[: len(shortcut.scale)])
    weight = weight / threshold.view(-1, *[1] * (weight.dim() - 1))
    return weight, None if bias is None else bias / threshold, shortcut, 1.0


def _neuron(threshold: float, decay: float, surrogate: Surrogate, steps: int = 1) -> tuple[float, float, float, float]:
    """As the operators take it: threshold, decay, the surrogate's kind and its scale."""
    if not isinstance(surrogate, Surrogate):
        raise TypeError(f"surrogate must come from firstspike.surrogate, got {surrogate!r}")
    return (
        checks.positive("threshold", threshold),
        checks.decay(decay, steps),
        _KINDS[surrogate.kind],
        surrogate.scale,
    )


def _spikes(spikes: SpikeTimes, *dims: int) -> SpikeTimes:
    if not isinstance(spikes, SpikeTimes):
        raise TypeError(
            f"spikes must be SpikeTimes, got {type(spikes).__name__}; encode.latency makes them from images, "
            "SpikeTimes.from_dense from a dense train"
        )
    if len(spikes.shape) not in dims:
        wanted = " or ".join({2: "[batch, neurons]", 4: "[batch, channels, height, width]"}[d] for d in dims)
        raise ValueError(f"spikes must have shape {wanted}, got {tuple(spikes.shape)}")
    return spikes


def _records(spikes: SpikeTimes, weight: Tensor, bias: Tensor | None, shortcut: Shortcut | None = None) -> bool:
    _same_device(spikes, weight, bias)
    wanted = spikes.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    wanted = wanted or (shortcut is not None and shortcut.requires_grad)
    return torch.is_grad_enabled() and wanted


def _same_device(spikes: SpikeTimes, weight: Tensor, bias: Tensor | None) -> None:
    checks.same_device("spikes", spikes.times, "weight", weight)
    if bias is not None:
        checks.same_device("weight", weight, "bias", bias)


def _input(spikes: SpikeTimes) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """(times, anchor, offset, place) of the input in site order."""
    times, anchor, support = to_sites(spikes.times), spikes._anchor, spikes._support
    if support is not None:
        return times, anchor, support.offset, support.place
    return times, None if anchor is None else anchor_to_sites(anchor), None, None


def _fire_layer(
    spikes: SpikeTimes,
    weight: Tensor,
    bias: Tensor | None,
    shortcut: Shortcut | None,
    geometry: Geometry,
    neuron: tuple[float, ...],
    record: bool,
) -> tuple[Tensor, ...]:
    """What the operators of a layer of neurons that fire return, with a shortcut or without."""
    arguments = *_input(spikes), weight, bias, geometry, neuron, record
    if shortcut is None:
        return ops.layer.fire_layer(*arguments)
    return ops.shortcut.fire_layer_shortcut(*arguments, shortcut=(*_input(shortcut.spikes), shortcut.scale))


def _fired(result: tuple[Tensor, ...], shape: torch.Size | tuple[int, ...], steps: int, record: bool) -> SpikeTimes:
    anchor, times, *support = result
    times = from_sites(times, shape)
    return SpikeTimes._trusted(times, steps, anchor, Support(*support)) if record else SpikeTimes._trusted(times, steps)


def _gammas(gamma: Tensor, weight: Tensor) -> Tensor:
    """A factor of each output, [O], of gamma [O] or [1]."""
    gamma = checks.float32("gamma", gamma, 1)
    if len(gamma) not in (1, len(weight)):
        raise ValueError(f"gamma must have 1 or {len(weight)} elements, one per output, got {len(gamma)}")
    checks.same_device("weight", weight, "gamma", gamma)
    return gamma if len(gamma) == len(weight) else gamma.expand(len(weight))


def _thinned(spikes: SpikeTimes, anchor: Tensor, left: Tensor) -> SpikeTimes:
    """Spikes with the times `left`, in site order, and `anchor`, which an operator made from the anchor of `spikes`."""
    times = from_sites(left, spikes.shape)
    if spikes._anchor is None:
        return SpikeTimes._trusted(times, spikes.steps)
    anchor = anchor if spikes._support is not None else from_sites(anchor, spikes.shape)
    return SpikeTimes._trusted(times, spikes.steps, anchor, spikes._support)


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
    checks.instance("shortcut", shortcut, SpikeTimes, "SpikeTimes")
    if shortcut.steps != spikes.steps or shortcut.shape[0] != spikes.shape[0]:
        raise ValueError(f"shortcut must have the samples and steps of spikes, {spikes}, got {shortcut}")
    checks.same_device("spikes", spikes.times, "shortcut", shortcut.times)
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
    times = torch.full((*spikes.shape[:2], *size), checks.SILENT, dtype=torch.uint8, device=spikes.device)
    times = times.contiguous(memory_format=torch.channels_last)
    times[:, :, rows, columns] = spikes.times
    anchor = spikes._dense_anchor()
    if anchor is not None:
        anchor = anchors.spread_anchor(anchor, list(size), steps)
    return SpikeTimes._trusted(times, spikes.steps, anchor)


def _scales(scale: Scale, channels: int, weight: Tensor) -> Tensor:
    """The scale of each channel of the shortcut, [channels]."""
    if isinstance(scale, Tensor) and (scale.dim() or scale.requires_grad):
        scale = checks.float32("shortcut_scale", scale)
        if scale.dim() > 1 or scale.numel() not in (1, channels, weight.shape[0]):
            raise ValueError(
                f"shortcut_scale must be a number, [{channels}] or [{weight.shape[0]}], got shape {tuple(scale.shape)}"
            )
        checks.same_device("shortcut_scale", scale, "weight", weight)
        return scale.expand(channels) if scale.numel() == 1 else scale[:channels]
    number = checks.real("shortcut_scale", scale)
    return weight.new_full((channels,), number)
