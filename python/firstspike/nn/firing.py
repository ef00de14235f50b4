"""The base of the layers that fire."""

from __future__ import annotations

from typing import Unpack

from ..surrogate import Surrogate
from .node import neuron
from .synapse import Synapse, SynapseOptions


class FiringOptions(SynapseOptions, total=False):
    """Arguments that all firing layers take, besides those of `Synapse`: as in `TTFSNode`."""

    threshold: float
    decay: float
    surrogate: Surrogate | None


class FiringLayer(Synapse):
    """A `Synapse` and TTFS neurons with the settings of a `TTFSNode`: threshold, decay and surrogate."""

    def __init__(
        self,
        shape: tuple[int, ...],
        gain: float,
        *,
        threshold: float = 1.0,
        decay: float = 1.0,
        surrogate: Surrogate | None = None,
        **options: Unpack[SynapseOptions],
    ) -> None:
        super().__init__(shape, gain, **options)
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

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{super().extra_repr()}, threshold={self.threshold:g}, decay={self.decay:g}, surrogate={self.surrogate}"
