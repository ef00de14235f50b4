"""Layers of windows on every device but the CPU: the functions of `firstspike.reference` in float32, plain torch.

Each function has the arguments of its fused counterpart in `windowed.py`. Autograd differentiates them, so that gradients are
exact up to rounding and a layer keeps several floats per neuron. `torch.compile` makes one graph of a net.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import reference
from .._base.checks import SILENT
from ..ops.windowed import Neurons, Product, weighted
from ..spikes import SpikeTimes

_everywhere = False


def serves(device: torch.device) -> bool:
    """Whether tensors on this device take the functions of this module."""
    return device.type != "cpu" or _everywhere


@contextmanager
def everywhere() -> Iterator[None]:
    """Within, tensors on the CPU take the functions of this module, too: for tests."""
    global _everywhere
    _everywhere = True
    try:
        yield
    finally:
        _everywhere = False


def values_of(spikes: SpikeTimes, pool: int) -> Tensor:
    """The values (T - t) / T of spikes, float32 [B, N] or [B, C, H, W], averaged over pool x pool units."""
    values, anchor = reference.windowed_values(spikes, dtype=torch.float32), spikes._value_anchor()
    values = values if anchor is None else values + anchor
    return values if pool == 1 else F.avg_pool2d(values, pool)


def current_of(spikes: SpikeTimes, weight: Tensor, product: Product, bias: Tensor | None) -> Tensor:
    """Currents [B, O], or in site order [B, H', W', O]."""
    return weighted(values_of(spikes, product.avg_pool), weight, bias, product)


def fired_of(current: Tensor, neurons: Neurons) -> tuple[SpikeTimes, Tensor]:
    """(spikes, moments of the batch) of currents in site order."""
    clip, steps, gamma, bias, moments, eps, batch = neurons
    current = current.permute(0, 3, 1, 2) if current.dim() == 4 else current
    moments = reference.channel_moments(current) if batch else moments
    affine = {"bias": bias, "gamma": gamma, "moments": moments, "eps": eps}
    values = reference.windowed_fire(current, clip, steps, **affine)
    return _spikes_of(values, steps), current.new_empty(0) if moments is None else moments.detach()


def earliest_of(spikes: SpikeTimes, pool: int) -> SpikeTimes:
    """The earliest spikes of windows of pool x pool units."""
    return _spikes_of(F.max_pool2d(values_of(spikes, 1), pool), spikes.steps)


def dropped(spikes: SpikeTimes, keep: int, seed: Tensor) -> SpikeTimes:
    """The spikes that `ops.dropout` keeps, with the same bits; those with a `Support` take the operator."""
    lost, anchor = reference.lost(spikes.shape, keep, seed), spikes._anchor
    times = spikes.times.masked_fill(lost, SILENT)
    return SpikeTimes._trusted(times, spikes.steps, None if anchor is None else anchor.masked_fill(lost, 0.0))


def _spikes_of(values: Tensor, steps: int) -> SpikeTimes:
    """Spikes of these values, to which the gradient of the spikes' values goes."""
    anchor = values - values.detach() if values.requires_grad else None
    return SpikeTimes._trusted(reference.window_times(values, steps), steps, anchor)
