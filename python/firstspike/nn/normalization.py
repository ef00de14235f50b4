"""Weight normalisation as a torch parametrization."""

from __future__ import annotations

import math

from torch import Tensor, nn

from .. import _checks, functional


class WeightNormalization(nn.Module):
    """(W - mean) / std * sqrt(T / N) * gain, mean and std (biased) over the whole weight (paper, Eq. 16).

    The paper is arXiv 2410.23619. So the weight keeps the mean 0 and the variance T / N of ETTFS-init throughout
    training, and Var(PSC) stays 1. `gain` is ours, 1 in the paper, see `init.ettfs_`.

    steps: T, 1 to 254. fan_in: N, at least 1. Use: `normalize(layer)`, or
    `torch.nn.utils.parametrize.register_parametrization(module, "weight", WeightNormalization(steps, fan_in))`.
    """

    def __init__(self, steps: int, fan_in: int, gain: float = 1.0) -> None:
        super().__init__()
        self.steps = _checks.steps(steps)
        self.fan_in = _checks.integer("fan_in", fan_in, 1)
        self.gain = _checks.real("gain", gain, 0.0, open_low=True)

    @property
    def deviation(self) -> float:
        """The standard deviation that the normalised weight has."""
        return self.gain * math.sqrt(self.steps / self.fan_in)

    def forward(self, weight: Tensor, gamma: Tensor | None = None) -> Tensor:
        """The normalised weight of the shape of `weight`, float32 [O, ...], times gamma, [O] or [1], if given."""
        return functional.normalize_weight(weight, self.deviation, gamma)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What an assignment to the layer's weight stores: the weight as it is."""
        return weight

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"steps={self.steps}, fan_in={self.fan_in}, gain={self.gain:g}"
