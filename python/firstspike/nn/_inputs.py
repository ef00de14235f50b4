"""Single-spike trains, those after max pooling, and dense trains [T, B, ...]: how a layer takes each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import functional, ops
from .._base import checks
from .._base.geometry import linear_geometry, out_size, pool_of
from ..functional import layer as layer_call
from ..functional.layer import flat_current, full_precision, map_current
from ..spikes import SpikeTimes
from .pooled_spikes import PooledSpikes

Spikes = SpikeTimes | PooledSpikes | Tensor
Pair = tuple[int, int]
MAP = "[batch, channels, height, width]"
FLAT_OR_MAP = f"[batch, neurons] or {MAP}"


def check_spikes(spikes: Spikes, steps: int, shape: str) -> Spikes:
    """Return `spikes` if they are over `steps` steps and of a shape of that kind; a dense train must be float32."""
    if isinstance(spikes, SpikeTimes | PooledSpikes):
        got, size = spikes.steps, spikes.shape
    elif isinstance(spikes, Tensor) and spikes.dim() > 2:
        spikes = checks.float32("spikes", spikes)
        got, size = spikes.shape[0], spikes.shape[1:]
    else:
        what = f"a tensor of shape {tuple(spikes.shape)}" if isinstance(spikes, Tensor) else type(spikes).__name__
        raise TypeError(
            f"spikes must be SpikeTimes (or PooledSpikes, or a dense train [steps, batch, ...]), got {what}"
        )
    if got != steps:
        dense = isinstance(spikes, Tensor)
        hint = ", of a tensor that is taken for a dense train [steps, batch, ...]; data go through an encoder first"
        raise ValueError(f"spikes must have the layer's steps = {steps}, got {got}{hint if dense else ''}")
    if len(size) not in ((4,) if shape == MAP else (2, 4)):
        raise ValueError(f"spikes must have shape {shape}, got {tuple(size)}")
    return spikes


def spikes_only(spikes: Spikes) -> SpikeTimes:
    """Return `spikes`; TypeError for trains other than SpikeTimes, which a layer with a shortcut does not take."""
    if not isinstance(spikes, SpikeTimes):
        what = "a dense train" if isinstance(spikes, Tensor) else "PooledSpikes (of max pooling)"
        raise TypeError(f"spikes must be SpikeTimes where a layer has a shortcut, got {what}")
    return spikes


def without_pooled_spikes(spikes: Spikes, weight: Tensor, avg_pool: int) -> tuple[SpikeTimes | Tensor, Tensor, int]:
    """(spikes, weight, avg_pool) that give the same current without `PooledSpikes`.

    The maximum over a window of distinct spikes is their sum, k x k times their average; with another pool after it, the train
    becomes a dense one.
    """
    if not isinstance(spikes, PooledSpikes):
        return spikes, weight, avg_pool
    if avg_pool != 1:
        return spikes.dense(), weight, avg_pool
    k = spikes.kernel_size
    return spikes.distinct, weight * (k * k), k


def drop_spikes(spikes: Spikes, p: float) -> Spikes:
    """A train of any kind from which each neuron is missing with probability p; after max pooling, each spike."""
    if isinstance(spikes, Tensor):
        return spikes * torch.empty(spikes.shape[1:], dtype=torch.float32, device=spikes.device).bernoulli_(1 - p)
    if isinstance(spikes, PooledSpikes):
        return spikes._with(functional.dropout(spikes.distinct, p))
    return functional.dropout(spikes, p)


def check_data(x: object, weight: Tensor, maps: bool) -> Tensor:
    """Return data for a directly coded layer: float32 [B, N], or [B, C, H, W] with `maps`, that fit its weight."""
    data, channels = checks.float32("x", x, 4 if maps else 2), weight.shape[1]
    if data.shape[1] != channels:
        sizes = f"{channels}, height, width" if maps else f"{channels}"
        raise ValueError(f"x must have shape [batch, {sizes}], got {tuple(data.shape)}")
    checks.same_device("x", data, "weight", weight)
    return data


def flat_membrane(spikes: Spikes, weight: Tensor, bias: Tensor | None, avg_pool: int, decay: float) -> Tensor:
    """Membrane [T, B, O] of a train of any kind, without firing."""
    spikes, weight, avg_pool = without_pooled_spikes(spikes, weight, avg_pool)
    if isinstance(spikes, Tensor):
        return accumulate(flat_current(spikes, weight, bias, avg_pool), decay)
    return functional.integrate(spikes, weight, bias, avg_pool=avg_pool, decay=decay)


def fired_and_membrane(
    spikes: SpikeTimes, weight: Tensor, bias: Tensor | None, avg_pool: int, neuron: Mapping[str, Any]
) -> tuple[SpikeTimes, Tensor]:
    """Spike times [B, O] of a linear layer and its membrane [T, B, O] without reset: the product is made once."""
    surrogate, bias = neuron["surrogate"], checks.bias(bias, len(weight))
    pool = pool_of(spikes.shape, avg_pool)
    geometry = linear_geometry(spikes.shape, weight, pool, spikes.steps)
    record = layer_call._records(spikes, weight, bias)
    if record and not surrogate.sparse:
        current = flat_current(spikes.dense(), weight, bias, avg_pool)
        return SpikeTimes._of_fired(functional.fire(current, **neuron)), accumulate(current, neuron["decay"])
    *result, membrane = ops.layer_membrane.fire_layer_membrane(
        *layer_call._input(spikes), weight, bias, geometry, layer_call._neuron(**neuron), record
    )
    fired = layer_call._fired(tuple(result), (spikes.shape[0], weight.shape[0]), spikes.steps, record)
    return fired, membrane.flatten(2)


def map_membrane(
    spikes: Spikes, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, avg_pool: int, decay: float
) -> Tensor:
    """Membrane [T, B, O, H', W'] of a train of any kind, without firing."""
    x = spikes if isinstance(spikes, Tensor) else spikes.dense()
    return accumulate(map_current(x, weight, bias, stride, padding, avg_pool), decay)


def accumulate(current: Tensor, decay: float) -> Tensor:
    """Membrane [T, ...] without firing: V[t] = decay V[t - 1] + X[t]."""
    checks.decay(decay, len(current))
    if decay == 1:
        return current.cumsum(0)
    v, steps = torch.zeros_like(current[0]), []
    for x in current:
        v = decay * v + x
        steps.append(v)
    return torch.stack(steps)


def constant_current(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair = (1, 1), padding: Pair = (0, 0)
) -> Tensor:
    """The current of directly coded data: x [B, N] with a weight [O, N], or x [B, C, H, W] with [O, C, kh, kw].

    Training, inference and the emulator's host encoder all call it, so that the currents of a batch are equal to the bit.
    """
    with full_precision(x.device):
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        # One channel is in both memory formats at once: torch would take it for the other, and copy what comes out. Where a
        # stride leaves one column, oneDNN's kernels for AVX-512 (torch 2.13) then read beside the data.
        column = stride[1] > 1 and out_size(x.shape[3], weight.shape[3], stride[1], padding[1]) == 1
        if x.shape[1] == 1:
            maps = x[:, 0].contiguous()
            x = maps.unsqueeze(1) if column else maps.unsqueeze(3).permute(0, 3, 1, 2)
        x = x.contiguous(memory_format=torch.channels_last)
        weight = weight.contiguous(memory_format=torch.channels_last)
        current: Tensor = ops.direct.direct_convolution(x, weight, bias, stride, padding)
        return current
