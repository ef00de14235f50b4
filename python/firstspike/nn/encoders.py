"""Encoders as modules."""

from __future__ import annotations

from torch import Tensor, nn

from .. import _checks, encode
from ..ops.latency import CURVES
from ..spikes import SpikeTimes


class LatencyEncoder(nn.Module):
    """Latency code, see `encode.latency`: x in [0, 1] to one spike an intensity, the brightest first, zero silent."""

    def __init__(self, steps: int, curve: str = "linear") -> None:
        super().__init__()
        self.steps = _checks.steps(steps)
        _checks.one_of("curve", curve, CURVES)
        self.curve = curve

    def forward(self, x: Tensor) -> SpikeTimes:
        """Spike times of x, float32 [B, ...] in [0, 1], in its shape."""
        return encode.latency(x, self.steps, self.curve)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"steps={self.steps}, curve={self.curve!r}"
