"""The neuron's settings, and the neuron alone as a module."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor, nn

from .. import _checks, functional
from ..surrogate import Surrogate, triangle


class Neuron(TypedDict):
    """The settings of a TTFS neuron, as the functions of `firstspike.functional` take them."""

    threshold: float
    decay: float
    surrogate: Surrogate


def neuron(threshold: float, decay: float, surrogate: Surrogate | None) -> Neuron:
    """Check a neuron's settings; the surrogate is by default `triangle()`."""
    surrogate = triangle() if surrogate is None else surrogate
    if not isinstance(surrogate, Surrogate):
        raise TypeError(f"surrogate must be a firstspike.surrogate, such as triangle(1.0), got {surrogate!r}")
    return {
        "threshold": _checks.real("threshold", threshold, 0.0, open_low=True),
        "decay": _checks.real("decay", decay, 0.0, 1.0, open_low=True),
        "surrogate": surrogate,
    }


class TTFSNode(nn.Module):
    """The TTFS neuron alone: dense currents [T, B, ...] to dense spikes of the same shape, at most one a neuron.

    V[t] = decay V[t - 1] + X[t]; it fires once, where V >= threshold. A drop-in for the neurons of time-stepped
    libraries, behind any layer; there is no state to reset. threshold > 0; 0 < decay <= 1 (1 = IF); surrogate:
    triangle(1) by default.
    """

    def __init__(self, *, threshold: float = 1.0, decay: float = 1.0, surrogate: Surrogate | None = None) -> None:
        super().__init__()
        self.neuron = neuron(threshold, decay, surrogate)

    def forward(self, current: Tensor) -> Tensor:
        """Dense spikes of `current`, float32 [T, B, ...]."""
        return functional.fire(current, **self.neuron)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return ", ".join(f"{name}={value}" for name, value in self.neuron.items())
