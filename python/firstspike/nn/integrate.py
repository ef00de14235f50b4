"""The readout layer that integrates and never fires."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import _checks
from ._inputs import FLAT_OR_MAP, Train, check_train, flat_membrane
from .synapse import Synapse, SynapseOptions


class Integrate(Synapse):
    """Output layer of a membrane readout: V[t] = decay V[t - 1] + gamma (W s[t]) + beta, without a threshold.

    avg_pool as in `TTFSLinear`; 0 < decay <= 1; options as in `Synapse` (steps is required). `gain` is 1 / sqrt(T): the
    potential sums the currents of T steps, and it is the last potential that has the variance 1 (ours).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        avg_pool: int = 1,
        decay: float = 1.0,
        **options: Unpack[SynapseOptions],
    ) -> None:
        _checks.integer("in_features", in_features, 1)
        _checks.integer("out_features", out_features, 1)
        _checks.integer("avg_pool", avg_pool, 1)
        super().__init__((out_features, in_features), _checks.steps(options.get("steps")) ** -0.5, **options)
        self.in_features, self.out_features, self.avg_pool = in_features, out_features, avg_pool
        self.decay = _checks.real("decay", decay, 0.0, 1.0, open_low=True)

    def forward(self, spikes: Train) -> Tensor:
        """Membrane, float32 [T, B, O], of `spikes` [B, N] or [B, C, H, W], or of a dense train [T, B, ...]."""
        spikes, weight, bias = self.prepare_input(check_train(spikes, self.steps, FLAT_OR_MAP))
        return flat_membrane(spikes, weight, bias, self.avg_pool, self.decay)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{super().extra_repr()}, avg_pool={self.avg_pool}, decay={self.decay:g}"
