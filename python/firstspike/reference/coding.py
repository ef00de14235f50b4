"""Latency coding of analog values in [0, 1], one value at a time: the counterpart of :mod:`firstspike.encode`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._base.checks import SILENT
from .spike_train import SpikeTrain


def _time(x: float, steps: int, curve: str) -> int:
    """Time of one value: 1 at step 0, the smallest ones at steps - 1, and 0 never."""
    if not 0 <= x <= 1:
        raise ValueError(f"x must be in [0, 1], got {x}")
    if x == 0:
        return SILENT
    if curve == "linear":
        return round((1 - x) * (steps - 1))
    if curve == "log":
        return round(min(1.0, math.log(x) / math.log(1 / 255)) * (steps - 1))
    raise ValueError(f"curve must be 'linear' or 'log', got {curve!r}")


def latency(x: Tensor, steps: int, curve: str = "linear") -> SpikeTrain:
    """Spikes [B, ...] of values x [B, ...] in [0, 1]: the brighter, the earlier; zero stays silent.

    curve "linear": time = round((1 - x) (steps - 1)), halves to even. "log": 1 - x becomes ln x / ln(1/255), at most 1.

    Examples:
        >>> reference.latency(torch.tensor([[1.0, 0.5, 0.0]]), 8).times.tolist()
        [[0, 4, 255]]
    """
    times = [_time(value, steps, curve) for value in x.flatten().tolist()]
    return SpikeTrain.from_times(torch.tensor(times, dtype=torch.uint8).reshape(x.shape), steps)
