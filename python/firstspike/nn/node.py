"""The neuron's settings, and the neuron alone as a module."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any, TypedDict, cast

from torch import Tensor, nn

from .. import functional
from .._base import checks
from ..surrogate import Surrogate, triangle


class Neuron(TypedDict):
    """The settings of a TTFS neuron, as the functions of `firstspike.functional` take them."""

    threshold: float
    decay: float
    surrogate: Surrogate


class Leaky(nn.Module):
    """A module whose potential decays from step to step, by a factor that may be read and set; a wrong value is refused."""

    _decay: float

    @property
    def decay(self) -> float:
        """The factor of the potential from step to step, in (0, 2]; 1 for IF, below it leaks, above it grows."""
        return self._decay

    @decay.setter
    def decay(self, value: float) -> None:
        self._decay = checks.decay(value, getattr(self, "steps", 1))

    def __setattr__(self, name: str, value: Any) -> None:
        # nn.Module would register a module or a parameter before it looks for a property
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


class NeuronSettings(Leaky):
    """A module with the settings of a neuron. Each may be read and set; a wrong value is refused."""

    _threshold: float
    _surrogate: Surrogate

    @property
    def threshold(self) -> float | Tensor:
        """The potential at which a neuron fires, > 0."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold = checks.positive("threshold", value)

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate derivative of the firing step; set to None it is `triangle()`."""
        return self._surrogate

    @surrogate.setter
    def surrogate(self, value: Surrogate | None) -> None:
        value = triangle() if value is None else value
        if not isinstance(value, Surrogate):
            raise TypeError(
                f"surrogate must be a firstspike.surrogate, such as triangle(1.0), got {checks.shown(value)}"
            )
        self._surrogate = value

    @property
    def neuron(self) -> Neuron:
        """The settings as the functions take them, read-only: set the properties to change them."""
        return cast(Neuron, MappingProxyType(self._neuron))

    @property
    def _neuron(self) -> Neuron:
        """`neuron` for a call: to unpack a read-only view takes longer."""
        return {"threshold": self._threshold, "decay": self._decay, "surrogate": self._surrogate}


class TTFSNode(NeuronSettings):
    """The TTFS neuron alone: dense currents [T, B, ...] to dense spikes of the same shape, at most one per neuron.

    V[t] = decay V[t - 1] + X[t]; it fires once, where V >= threshold. A drop-in for the neurons of time-stepped
    libraries, after any layer; there is no state to reset. threshold > 0; 0 < decay <= 2 (1 = IF); surrogate:
    `triangle()` by default. Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> TTFSNode(threshold=2.0)(torch.ones(3, 1, 1)).flatten()
        tensor([0., 1., 0.])
    """

    def __init__(self, *, threshold: float = 1.0, decay: float = 1.0, surrogate: Surrogate | None = None) -> None:
        super().__init__()
        self.threshold, self.decay, self.surrogate = threshold, decay, surrogate

    def forward(self, current: Tensor) -> Tensor:
        """Dense spikes of `current`, float32 [T, B, ...]."""
        return functional.fire(current, **self.neuron)

    def settings(self) -> dict[str, Any]:
        """The settings as JSON can hold them, by the names of the keyword arguments; the surrogate as a dict of its fields."""
        return {**self.neuron, "surrogate": dataclasses.asdict(self.surrogate)}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return ", ".join(f"{name}={value}" for name, value in self.neuron.items())
