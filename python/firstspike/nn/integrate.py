"""The readout layer that integrates and never fires."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor

from .._base import checks
from ._inputs import FLAT_OR_MAP, Spikes, check_spikes, flat_membrane
from .node import Leaky
from .synapse import Affine, Normalization, Synapse


class Integrate(Synapse, Leaky):
    """Output layer of a membrane readout: V[t] = decay V[t - 1] + gamma (W s[t]) + beta, without a threshold.

    steps: T, 1 to 254. avg_pool as in `TTFSLinear`. 0 < decay <= 2. The others as in `Synapse`. `gain` is 1 / sqrt(T): the
    potential sums the currents of T steps, and it is the last potential that has the variance 1 (ours).
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> spikes = SpikeTimes(torch.zeros(4, 64, dtype=torch.uint8), steps=8)
        >>> Integrate(64, 10, steps=8)(spikes).shape
        torch.Size([8, 4, 10])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        steps: int,
        avg_pool: int = 1,
        decay: float = 1.0,
        bias: bool = True,
        affine: Affine = "channel",
        init: str = "ettfs",
        normalization: Normalization = False,
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        self.in_features = checks.size("in_features", in_features)
        self.out_features = checks.size("out_features", out_features)
        self.avg_pool = checks.size("avg_pool", avg_pool)
        super().__init__(
            (self.out_features, self.in_features),
            checks.steps(steps) ** -0.5,
            steps=steps,
            bias=bias,
            affine=affine,
            init=init,
            normalization=normalization,
            dropout=dropout,
            generator=generator,
        )
        self.decay = decay

    def forward(self, spikes: Spikes) -> Tensor:
        """Membrane, float32 [T, B, O], of `spikes` [B, N] or [B, C, H, W], of `PooledSpikes`, or of a dense train [T, B, ...]."""
        spikes, weight, bias = self.prepare_input(check_spikes(spikes, self.steps, FLAT_OR_MAP))
        return flat_membrane(spikes, weight, bias, self.avg_pool, self.decay)

    def settings(self) -> dict[str, Any]:
        """The settings, see `Synapse.settings`."""
        sizes = {"in_features": self.in_features, "out_features": self.out_features, "avg_pool": self.avg_pool}
        return super().settings() | sizes | {"decay": self.decay}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{super().extra_repr()}, avg_pool={self.avg_pool}, decay={self.decay:g}"
