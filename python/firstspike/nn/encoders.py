"""Encoders as modules."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .. import encode
from .._base import checks
from ..ops.latency import CURVES
from ..spikes import SpikeTimes


class LatencyEncoder(nn.Module):
    """Latency code, see `encode.latency`: x in [0, 1] to one spike per intensity, the brightest first, zero silent.

    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> LatencyEncoder(steps=8)(torch.tensor([[1.0, 0.0]])).times
        tensor([[  0, 255]], dtype=torch.uint8)
    """

    def __init__(self, steps: int, curve: str = "linear") -> None:
        super().__init__()
        self.steps = checks.steps(steps)
        checks.one_of("curve", curve, CURVES)
        self.curve = curve

    def forward(self, x: Tensor) -> SpikeTimes:
        """Spike times of x, float32 [B, ...] in [0, 1], in its shape."""
        return encode.latency(x, self.steps, self.curve)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"steps": self.steps, "curve": self.curve}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"steps={self.steps}, curve={self.curve!r}"


class SpikeInput(nn.Module):
    """The encoder of data that are spikes already, as of `encode.first_events`: it checks them and passes them on.

    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> spikes = SpikeTimes(torch.tensor([[0, 255]], dtype=torch.uint8), steps=4)
        >>> SpikeInput(steps=4)(spikes).count()
        tensor([1])
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = checks.steps(steps)

    def forward(self, x: SpikeTimes) -> SpikeTimes:
        """x, SpikeTimes [B, ...] over `steps` steps; TypeError or ValueError for anything else."""
        if not isinstance(x, SpikeTimes):
            raise TypeError(f"x must be SpikeTimes, as this net has no encoder, got {checks.shown(x)}")
        if x.steps != self.steps:
            raise ValueError(f"x must have steps = {self.steps}, got {x.steps}; x.rescale({self.steps}) changes them")
        return x

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"steps": self.steps}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"steps={self.steps}"
