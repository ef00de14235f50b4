"""Weight normalisation, a part of a layer."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from .. import functional
from .._base import checks


class WeightNormalization(nn.Module):
    """(W - mean) / std * sqrt(T / N) * gain, with the mean and the biased std of the weight (paper, Eq. 16).

    The paper is arXiv 2410.23619. granularity: mean and std are over the whole weight ("layer", our reading of Eq. 16), or
    over the N weights of each output ("channel": weight standardisation, S. Qiao et al., arXiv 1903.10520). With mean 0 per
    output the current of a neuron depends on which inputs fire, not on how many; in convolutional nets "channel" learns
    faster (paper/LABBOOK.md, "The optimizer and the normalisation"). For the same reason directly coded data should vary around 0
    (`train.Config(standardize=True)`): of images in 0..1 little but their edges is left, and a deep net may begin silent.

    The weight keeps the mean 0 and the variance T / N of ETTFS-init throughout training, and
    Var(PSC) stays 1 (docs/model.md, section "Weight normalisation"). `gain` is ours, 1 in the paper, see `init.ettfs_`.

    A layer with `normalization=True` makes its own and holds it as `layer.normalization`. It has no parameters, so a
    layer's state_dict is the same with it and without it, and `layer.weight` stays the tensor that is trained.

    steps: T, 1 to 254. fan_in: N, at least 1, with granularity "channel" at least 2.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> normal = WeightNormalization(steps=8, fan_in=50)(torch.randn(40, 50))
        >>> round(float(normal.var(correction=0)), 4)  # T / N
        0.16
    """

    def __init__(self, steps: int, fan_in: int, gain: float = 1.0, *, granularity: str = "layer") -> None:
        super().__init__()
        self.steps = checks.steps(steps)
        checks.one_of("granularity", granularity, functional.GRANULARITIES)
        self.granularity = granularity
        self.fan_in = checks.integer("fan_in", fan_in, 1)
        if granularity == "channel" and self.fan_in == 1:
            raise ValueError(
                'fan_in must be at least 2 with granularity "channel": one weight less its mean is 0, got 1'
            )
        self.gain = checks.positive("gain", gain)

    @property
    def deviation(self) -> float:
        """The standard deviation that the normalised weight has."""
        return self.gain * math.sqrt(self.steps / self.fan_in)

    def forward(self, weight: Tensor, gamma: Tensor | None = None) -> Tensor:
        """The normalised weight of the shape of `weight`, float32 [O, ...], times gamma, [O] or [1], if given."""
        return functional.normalize_weight(weight, self.deviation, gamma, granularity=self.granularity)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        settings = {"steps": self.steps, "fan_in": self.fan_in, "gain": self.gain}
        return settings | ({"granularity": self.granularity} if self.granularity != "layer" else {})

    def extra_repr(self) -> str:
        """The settings, for print."""
        granularity = "" if self.granularity == "layer" else f", granularity={self.granularity!r}"
        return f"steps={self.steps}, fan_in={self.fan_in}, gain={self.gain:g}{granularity}"
