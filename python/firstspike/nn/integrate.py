"""The readout layer that integrates and never fires."""

from __future__ import annotations

from torch import Generator, Tensor

from .. import _checks, functional
from ._trains import Train, accumulate, check_train, flat_current
from .synapse import Affine, Synapse


class Integrate(Synapse):
    """Output layer of a membrane readout: V[t] = decay V[t - 1] + gamma (W s[t]) + beta, without a threshold.

    avg_pool as in `TTFSLinear`; parameters as in `Synapse`; decay 0 to 1.
    """

    def __init__(self, in_features: int, out_features: int, *, steps: int, avg_pool: int = 1, bias: bool = True,
                 affine: Affine = "channel", decay: float = 1.0, generator: Generator | None = None) -> None:
        self.in_features = _checks.integer("in_features", in_features, 1)
        self.out_features = _checks.integer("out_features", out_features, 1)
        self.avg_pool = _checks.integer("avg_pool", avg_pool, 1)
        self.decay = _checks.real("decay", decay, 0.0, 1.0)
        super().__init__((out_features, in_features), steps=steps, gain=float(avg_pool), bias=bias, affine=affine,
                         generator=generator)

    def forward(self, spikes: Train) -> Tensor:
        """Membrane, float32 [T, B, O], of `spikes` [B, N] or [B, C, H, W]; a dense train [T, B, ...] takes the dense path."""
        spikes = check_train(spikes, self.steps, (2, 4), "[batch, neurons] or [batch, channels, height, width]")
        weight, bias = self.synapse()
        if isinstance(spikes, Tensor):
            return accumulate(flat_current(spikes, weight, bias, self.avg_pool), self.decay)
        return functional.integrate(spikes, weight, bias, avg_pool=self.avg_pool, decay=self.decay)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{self.in_features}, {self.out_features}, avg_pool={self.avg_pool}, decay={self.decay:g}, {self.settings()}"
