"""The one way in which a layer of neurons is called: checks, sizes, shortcut and thresholds, then a kernel or the dense path."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import ops
from .._base import checks
from .._base.geometry import Geometry, anchor_to_sites, from_sites, geometry_of, pixels, shortcut_stride, to_sites
from ..ops.direct import direct_convolution
from ..spikes import SpikeTimes, Support, cat
from ..surrogate import KINDS, Surrogate

FUSED_SHORTCUTS = ("cpu", "meta")  # devices whose kernels add a shortcut to the current
_NO_CONTEXT = nullcontext()
_KINDS = {kind: float(number) for number, kind in enumerate(KINDS)}


class Sizes(NamedTuple):
    """How a layer moves over its input; a fully connected layer pools alone."""

    avg_pool: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)


class Shortcut(NamedTuple):
    """Spikes that go into the current of a layer's outputs one by one, channel c into output c, and the scale of each channel."""

    spikes: SpikeTimes
    scale: Tensor  # [channels]

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows to the spikes or the scale."""
        return self.spikes.requires_grad or self.scale.requires_grad


def fire_layer(
    spikes: SpikeTimes,
    weight: Tensor,
    bias: Tensor | None,
    sizes: Sizes,
    threshold: float | Tensor,
    decay: float,
    surrogate: Surrogate,
    shortcut: SpikeTimes | None = None,
    shortcut_scale: float | Tensor = 1.0,
    *,
    synaptic_decay: float = 0.0,
    with_membrane: bool = False,
) -> tuple[SpikeTimes, Tensor | None]:
    """Spike times of a layer, fully connected or convolutional by its weight; on request also its membrane without reset.

    Arguments are those of `functional.linear` and `functional.conv2d`, of which the caller has checked spikes, weight and sizes.
    """
    steps = spikes.steps
    geometry = geometry_of(spikes.shape, weight, steps, *sizes)
    bias = checks.bias(bias, weight.shape[0])
    per_output = isinstance(threshold, Tensor) and threshold.dim() > 0
    neuron = neuron_of(1.0 if per_output else threshold, decay, surrogate, steps, synaptic_decay)
    shortcut_in = None
    if shortcut is not None:
        shortcut_in = _checked_shortcut(spikes, weight, shortcut, shortcut_scale, geometry)
        if spikes.device.type not in FUSED_SHORTCUTS or not surrogate.sparse:
            spikes, weight = with_shortcut(spikes, weight, shortcut_in, geometry)
            geometry, shortcut_in = geometry_of(spikes.shape, weight, steps, *sizes), None
    if per_output:
        weight, bias, shortcut_in = _per_threshold(weight, bias, shortcut_in, threshold)
    _check_devices(spikes, weight, bias)
    trained = (weight, bias, spikes, shortcut_in)
    record = torch.is_grad_enabled() and any(part is not None and part.requires_grad for part in trained)
    if record and not surrogate.sparse:
        current = dense_current(spikes.dense(), weight, bias, sizes)
        fired = SpikeTimes._of_fired(ops.fire.fire(current.contiguous(), neuron))
        return fired, accumulate(current, decay, synaptic_decay) if with_membrane else None
    call = *input_of(spikes), weight, bias, geometry, neuron, record
    if shortcut_in is None:
        result = ops.layer.fire_layer(*call)
    else:
        result = ops.shortcut.fire_layer_shortcut(*call, shortcut=(*input_of(shortcut_in.spikes), shortcut_in.scale))
        if with_membrane:
            spikes, weight = with_shortcut(spikes, weight, shortcut_in, geometry)
    membrane = integrate_layer(spikes, weight, bias, sizes, decay, synaptic_decay) if with_membrane else None
    size = result[1].shape[1:3] if weight.dim() == 4 else ()
    return fired_of(result, (spikes.shape[0], weight.shape[0], *size), steps, record), membrane


def integrate_layer(
    spikes: SpikeTimes | Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: Sizes,
    decay: float,
    synaptic_decay: float = 0.0,
) -> Tensor:
    """Membrane [T, B, O, ...] of a layer that never fires, on spikes or on a dense train; a convolution takes the dense path."""
    if isinstance(spikes, Tensor) or weight.dim() == 4:
        x = spikes if isinstance(spikes, Tensor) else spikes.dense()
        return accumulate(dense_current(x, weight, bias, sizes), decay, synaptic_decay)
    geometry = geometry_of(spikes.shape, weight, spikes.steps, sizes.avg_pool)
    bias = checks.bias(bias, weight.shape[0])
    decays = checks.decay(decay, spikes.steps), checks.synaptic_decay(synaptic_decay)
    _check_devices(spikes, weight, bias)
    membrane: Tensor = ops.integrate.integrate_layer(*input_of(spikes), weight, bias, geometry, decays)
    return membrane.flatten(2)


def dense_current(x: Tensor, weight: Tensor, bias: Tensor | None, sizes: Sizes) -> Tensor:
    """Current [T, B, O, ...] of a dense train [T, B, N] or [T, B, C, H, W], which is pooled first."""
    geometry = geometry_of(x.shape[1:], weight, len(x), *sizes)
    if geometry.pool > 1:
        x = torch.unflatten(F.avg_pool2d(x.flatten(0, 1), geometry.pool), 0, x.shape[:2])
    with full_precision(x.device):
        if weight.dim() == 2:
            return F.linear(x.flatten(2), weight, bias)
        convolve = direct_convolution if x.is_cuda else _convolution  # on CUDA torch's own rounds to TF32
        return torch.unflatten(convolve(x.flatten(0, 1), weight, bias, sizes.stride, sizes.padding), 0, x.shape[:2])


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """As torch.conv2d; kernels of one pixel are a product."""
    if weight.shape[2:] != (1, 1):
        return F.conv2d(x, weight, bias, stride, padding)
    return F.linear(pixels(x, stride, padding).movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)


def accumulate(current: Tensor, decay: float, synaptic_decay: float = 0.0) -> Tensor:
    """Membrane [T, ...] without firing: I[t] = synaptic_decay I[t - 1] + X[t], V[t] = decay V[t - 1] + I[t]."""
    checks.decay(decay, len(current))
    if checks.synaptic_decay(synaptic_decay):
        current = accumulate(current, synaptic_decay)
    if decay == 1:
        return current.cumsum(0)
    v, steps = torch.zeros_like(current[0]), []
    for x in current:
        v = decay * v + x
        steps.append(v)
    return torch.stack(steps)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """The context in which autocast is off: the membrane is float32 whatever the caller's autocast."""
    kind = device.type
    on = kind != "meta" and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else _NO_CONTEXT


def neuron_of(
    threshold: object, decay: float, surrogate: Surrogate, steps: int = 1, synaptic_decay: float = 0.0
) -> tuple[float, ...]:
    """The neuron as the operators take it: threshold, decay, the surrogate's kind and its scale, synaptic decay."""
    checks.instance("surrogate", surrogate, Surrogate, "one of firstspike.surrogate")
    number = checks.positive("threshold", threshold)
    kind = _KINDS[surrogate.kind], surrogate.scale
    return number, checks.decay(decay, steps), *kind, checks.synaptic_decay(synaptic_decay)


def input_of(spikes: SpikeTimes) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """(times, anchor, offset, place) of spikes in site order."""
    times, support = to_sites(spikes.times), spikes._support
    if support is not None:
        return times, spikes._anchor, support.offset, support.place
    anchor = spikes._dense_anchor()
    return times, None if anchor is None else anchor_to_sites(anchor), None, None


def fired_of(result: tuple[Tensor, ...], shape: torch.Size | tuple[int, ...], steps: int, record: bool) -> SpikeTimes:
    """Spikes of the shape [B, ...] of what an operator of firing neurons returns."""
    anchor, times, *support = result
    times = from_sites(times, shape)
    return SpikeTimes._trusted(times, steps, anchor, Support(*support)) if record else SpikeTimes._trusted(times, steps)


def thinned(spikes: SpikeTimes, anchor: Tensor, left: Tensor) -> SpikeTimes:
    """Spikes with the times `left`, in site order, and `anchor`, which an operator made from the anchor of `spikes`."""
    times = from_sites(left, spikes.shape)
    if spikes._anchor is None:
        return SpikeTimes._trusted(times, spikes.steps)
    anchor = anchor if spikes._support is not None else from_sites(anchor, spikes.shape)
    return SpikeTimes._trusted(times, spikes.steps, anchor, spikes._support)


def _check_devices(spikes: SpikeTimes, weight: Tensor, bias: Tensor | None) -> None:
    checks.same_device("spikes", spikes.times, "weight", weight)
    if bias is not None:
        checks.same_device("weight", weight, "bias", bias)


def _per_threshold(
    weight: Tensor, bias: Tensor | None, shortcut: Shortcut | None, threshold: object
) -> tuple[Tensor, Tensor | None, Shortcut | None]:
    """Weight, bias and shortcut in units of thresholds [O]."""
    per_output = checks.thresholds(threshold, weight.shape[0])
    checks.same_device("weight", weight, "threshold", per_output)
    if shortcut is not None:
        shortcut = shortcut._replace(scale=shortcut.scale / per_output[: len(shortcut.scale)])
    weight = weight / per_output.view(-1, *[1] * (weight.dim() - 1))
    return weight, None if bias is None else bias / per_output, shortcut


def _checked_shortcut(
    spikes: SpikeTimes, weight: Tensor, shortcut: SpikeTimes, scale: float | Tensor, geometry: Geometry
) -> Shortcut:
    """The shortcut of a layer on `spikes`; TypeError or ValueError where it does not fit."""
    checks.instance("shortcut", shortcut, SpikeTimes, "SpikeTimes")
    checks.same_device("spikes", spikes.times, "shortcut", shortcut.times)
    if shortcut.steps != spikes.steps or shortcut.shape[0] != spikes.shape[0]:
        raise ValueError(f"shortcut must have the samples and steps of spikes, {spikes}, got {shortcut}")
    outputs, maps, shape = weight.shape[0], weight.dim() == 4, tuple(shortcut.shape)
    if len(shape) != weight.dim() or shape[1] > outputs:
        shape_of_maps = ", height, width" if maps else ""
        raise ValueError(f"shortcut must have shape [batch, at most {outputs}{shape_of_maps}], got {shape}")
    if not maps and geometry.pool != 1:
        raise ValueError(f"shortcut needs avg_pool = 1 in a fully connected layer, got {geometry.pool}")
    if maps:
        out, size = geometry.out_size, (shape[2], shape[3])
        down, across = shortcut_stride(size, out)
        if (-(-size[0] // down), -(-size[1] // across)) != out:
            raise ValueError(f"shortcut must have a map of which every n-th row and column give the output's {out}, got {size}")
        pads, kernel = (geometry.pad_y, geometry.pad_x), (geometry.kernel_height, geometry.kernel_width)
        if any(2 * pad > length - 1 for pad, length in zip(pads, kernel, strict=True)):
            raise ValueError(
                f"shortcut needs a padding of at most (k - 1) / 2 of a kernel of k, got {pads} with the kernel {kernel}"
            )
    if not isinstance(scale, Tensor) or (scale.dim() == 0 and not scale.requires_grad):
        return Shortcut(shortcut, weight.new_full((shape[1],), checks.real("shortcut_scale", scale)))
    scale = checks.float32("shortcut_scale", scale)
    if scale.dim() > 1 or scale.numel() not in (1, shape[1], outputs):
        raise ValueError(f"shortcut_scale must be a number, [{shape[1]}] or [{outputs}], got shape {tuple(scale.shape)}")
    checks.same_device("shortcut_scale", scale, "weight", weight)
    return Shortcut(shortcut, scale.expand(shape[1]) if scale.numel() == 1 else scale[: shape[1]])


def with_shortcut(spikes: SpikeTimes, weight: Tensor, shortcut: Shortcut, geometry: Geometry) -> tuple[SpikeTimes, Tensor]:
    """(spikes, weight) of a layer that gets the shortcut's spikes as further channels of its input.

    geometry: of the layer without the shortcut.
    """
    spikes_beside, scale = shortcut
    channels = spikes_beside.shape[1]
    taps = F.pad(scale.diag(), (0, 0, 0, weight.shape[0] - channels))
    if weight.dim() == 2:
        spikes = spikes.flatten(1)
    else:
        down, across = shortcut_stride((spikes_beside.shape[2], spikes_beside.shape[3]), geometry.out_size)
        spikes_beside = _spread(spikes_beside if down == across == 1 else spikes_beside[:, :, ::down, ::across], geometry)
        right, below = geometry.kernel_width - 1 - geometry.pad_x, geometry.kernel_height - 1 - geometry.pad_y
        taps = F.pad((taps * geometry.pool**2)[:, :, None, None], (geometry.pad_x, right, geometry.pad_y, below))
    return cat([spikes, spikes_beside]), torch.cat([weight, taps], 1)


def _spread(spikes: SpikeTimes, geometry: Geometry) -> SpikeTimes:
    """Each unit of a map of the output's size at the unit of the input under the kernel's center; silent elsewhere."""
    size = geometry.height, geometry.width
    every = [geometry.stride_y * geometry.pool, geometry.stride_x * geometry.pool]
    if spikes.shape[2:] == size and every == [1, 1]:
        return spikes
    rows, columns = (slice(0, n * step, step) for n, step in zip(spikes.shape[2:], every, strict=True))
    times = torch.full((*spikes.shape[:2], *size), checks.SILENT, dtype=torch.uint8, device=spikes.device)
    times = times.contiguous(memory_format=torch.channels_last)
    times[:, :, rows, columns] = spikes.times
    anchor = spikes._dense_anchor()
    if anchor is not None:
        narrow, anchor = anchor, anchor.new_zeros((*anchor.shape[:3], *size))
        anchor[..., rows, columns] = narrow
    return SpikeTimes._trusted(times, spikes.steps, anchor)
