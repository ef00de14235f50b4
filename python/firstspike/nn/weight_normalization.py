"""Weight normalisation, a part of a layer."""

from __future__ import annotations

import math

from torch import Tensor

from .. import functional
from .._base import checks
from .settings import Settings


class WeightNormalization(Settings):
    """(W - mean) / std * sqrt(T / N) * gain, with the mean and the biased std of the weight (arXiv 2410.23619, Eq. 16).

    The weight keeps mean 0 and the variance T / N of ETTFS-init throughout training, and Var(PSC) stays 1 (docs/model.md,
    section "Weight normalisation"). A layer with `normalization=True` creates its own and holds it as `layer.normalization`.
    It has no parameters: `layer.weight` stays the tensor that is trained.

    Parameters
    ----------
    steps : T, 1 to 254.
    fan_in : N, at least 1; at least 2 with granularity "channel".
    gain : ours, 1 in the paper, see `init.ettfs_`.
    granularity : "layer" takes mean and std over the whole weight, our reading of Eq. 16. "channel" takes them over the N
        weights of each output (weight standardisation, S. Qiao et al., arXiv 1903.10520): the current of a neuron then depends
        on which inputs fire, not on how many, and convolutional nets learn faster. Directly coded data should then vary
        around 0 (`nn.Normalize`), as little but edges is left of images in 0 to 1.

    Examples
    --------
    >>> normal = WeightNormalization(steps=8, fan_in=50)(torch.randn(40, 50))
    >>> round(float(normal.var(correction=0)), 4)  # T / N
    0.16
    """

    def __init__(self, steps: int, fan_in: int, gain: float = 1.0, *, granularity: str = "layer") -> None:
        super().__init__()
        self.steps = checks.steps(steps)
        checks.one_of("granularity", granularity, functional.GRANULARITIES)
        self.granularity = granularity
        self.fan_in = checks.integer("fan_in", fan_in, 2 if granularity == "channel" else 1)
        self.gain = checks.positive("gain", gain)

    @property
    def deviation(self) -> float:
        """The standard deviation of the normalised weight."""
        return self.gain * math.sqrt(self.steps / self.fan_in)

    def forward(self, weight: Tensor, gamma: Tensor | None = None) -> Tensor:
        """Return the normalised weight, float32 [O, ...], times gamma, [O] or [1], if given."""
        return functional.normalize_weight(weight, self.deviation, gamma, granularity=self.granularity)
