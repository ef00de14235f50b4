"""How the public functions check spikes and settings, and how operators take and return them."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _checks, _neuron_checks, ops
from ._geometry import Geometry
from ._shortcut import Shortcut
from ._sites import anchor_to_sites, from_sites, to_sites
from .spikes import SpikeTimes, Support
from .surrogate import KINDS, Surrogate

_KINDS = {kind: float(number) for number, kind in enumerate(KINDS)}


def _per_threshold(
    weight: Tensor, bias: Tensor | None, shortcut: Shortcut | None, threshold: float | Tensor
) -> tuple[Tensor, Tensor | None, Shortcut | None, float]:
    """Weight, bias, shortcut and threshold; thresholds [O] divide the first three and become 1, a number changes nothing."""
    if not isinstance(threshold, Tensor) or threshold.dim() == 0:
        return weight, bias, shortcut, threshold  # type: ignore[return-value]  # checked in `_neuron`
    threshold = _neuron_checks.thresholds(threshold, weight.shape[0])
    _checks.same_device("weight", weight, "threshold", threshold)
    if shortcut is not None:
        shortcut = shortcut._replace(scale=shortcut.scale / threshold[: len(shortcut.scale)])
    weight = weight / threshold.view(-1, *[1] * (weight.dim() - 1))
    return weight, None if bias is None else bias / threshold, shortcut, 1.0


def _neuron(threshold: float, decay: float, surrogate: Surrogate, steps: int = 1) -> tuple[float, float, float, float]:
    """As the operators take it: threshold, decay, the surrogate's kind and its scale."""
    if not isinstance(surrogate, Surrogate):
        raise TypeError(f"surrogate must come from firstspike.surrogate, got {surrogate!r}")
    return (
        _checks.positive("threshold", threshold),
        _neuron_checks.decay(decay, steps),
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
    _checks.same_device("spikes", spikes.times, "weight", weight)
    if bias is not None:
        _checks.same_device("weight", weight, "bias", bias)


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
    gamma = _checks.float32("gamma", gamma, 1)
    if len(gamma) not in (1, len(weight)):
        raise ValueError(f"gamma must have 1 or {len(weight)} elements, one per output, got {len(gamma)}")
    _checks.same_device("weight", weight, "gamma", gamma)
    return gamma if len(gamma) == len(weight) else gamma.expand(len(weight))


def _thinned(spikes: SpikeTimes, anchor: Tensor, left: Tensor) -> SpikeTimes:
    """Spikes with the times `left`, in site order, and `anchor`, which an operator made from the anchor of `spikes`."""
    times = from_sites(left, spikes.shape)
    if spikes._anchor is None:
        return SpikeTimes._trusted(times, spikes.steps)
    anchor = anchor if spikes._support is not None else from_sites(anchor, spikes.shape)
    return SpikeTimes._trusted(times, spikes.steps, anchor, spikes._support)
