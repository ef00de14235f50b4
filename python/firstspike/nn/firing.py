"""The base of the layers that fire."""

from __future__ import annotations

from torch import Generator

from ..surrogate import Surrogate
from .node import neuron
from .synapse import Affine, Synapse


class FiringLayer(Synapse):
    """A `Synapse` and TTFS neurons. threshold > 0; decay 0 to 1 (1 = IF); surrogate: triangle(1) by default."""

    def __init__(self, shape: tuple[int, ...], *, steps: int, gain: float, bias: bool, affine: Affine, threshold: float,
                 decay: float, surrogate: Surrogate | None, generator: Generator | None) -> None:
        super().__init__(shape, steps=steps, gain=gain, bias=bias, affine=affine, generator=generator)
        self.neuron = neuron(threshold, decay, surrogate)

    @property
    def threshold(self) -> float:
        """The potential at which a neuron fires."""
        return self.neuron["threshold"]

    @property
    def decay(self) -> float:
        """The factor of the potential from step to step, 1 for IF."""
        return self.neuron["decay"]

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate derivative of the firing step."""
        return self.neuron["surrogate"]

    def settings(self) -> str:
        """The settings that all layers have, for print."""
        return f"{super().settings()}, threshold={self.threshold:g}, decay={self.decay:g}, surrogate={self.surrogate}"
