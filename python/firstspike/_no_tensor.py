"""What is said where spikes are used as if they were a tensor."""

from __future__ import annotations

from typing import NoReturn

_NO_TENSOR = (
    "; SpikeTimes are no tensor: layers of firstspike.nn and firstspike.cat take them, dense() is a float train [T, B, ...] for "
    "torch's modules, times are the bytes"
)


class NoTensor:
    """Spikes lack what torch and NumPy ask of a tensor; the errors say what there is in its place."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"'{type(self).__name__}' object has no attribute {name!r}{_NO_TENSOR}")

    def __add__(self, other: object) -> NoReturn:
        raise TypeError(
            "spikes cannot be added, as a neuron fires at most once: nn.Residual adds currents, firstspike.earliest takes the "
            "earlier spike, firstspike.cat puts trains side by side"
        )

    __radd__ = __add__

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        raise TypeError(f"spikes are no array{_NO_TENSOR}")
