"""Encoders: intensities to spike times, the brightest first."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _checks, ops
from .ops.latency import CURVES
from .spikes import SpikeTimes


def latency(x: Tensor, steps: int, curve: str = "linear") -> SpikeTimes:
    """Latency code: one spike an intensity, the brighter the earlier; zero stays silent.

    x: float32 [B, ...], values in [0, 1] (float16 and bfloat16 under autocast). steps: T, 1 to 254.
    curve, for x > 0, rounding half to even:

    - "linear": time = round((1 - x) (T - 1)); x = 1 fires in step 0.
    - "log": time = round((T - 1) min(1, ln x / ln(1/255))): equal ratios of intensity are equal delays, as in a
      receptor that responds to the logarithm of its input. x = 1 fires in step 0; 1/255, the darkest grey of an 8-bit
      image, and whatever is darker fire in step T - 1.

    Not differentiable. Raises TypeError for another type, ValueError for values outside [0, 1], NaN, or an unknown
    curve.
    """
    x = _checks.float32("x", x).detach()
    steps = _checks.steps(steps)
    _checks.one_of("curve", curve, CURVES)
    if x.dim() < 2:
        raise ValueError(f"x must have shape [batch, ...] with at least 2 dimensions, got {tuple(x.shape)}")
    if not torch.compiler.is_compiling():
        _check_unit_interval(x)
    return SpikeTimes(ops.latency.latency(x.contiguous(), steps, CURVES.index(curve)), steps)


def _check_unit_interval(x: Tensor) -> None:
    if x.numel() == 0:
        return
    low, high = (float(v) for v in x.aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons
        raise ValueError(f"x must be in [0, 1], got values from {low} to {high}; scale the data first")
