"""firstspike: time-to-first-spike spiking neural networks, in which every neuron fires at most once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import decode, encode, functional, init, losses, models, nn, surrogate
from ._base.kernels import backends
from ._base.provenance import __version__
from .models.files import load, save
from .spikes import SpikeTimes, cat, register

if TYPE_CHECKING:
    from . import data, emulator, inspect, nir, plot, provenance, reference, train
    from .conversion import convert
    from .inspect import explain, profile
    from .onnx import to_onnx

__all__ = [
    "SpikeTimes",
    "__version__",
    "backends",
    "cat",
    "convert",
    "data",
    "decode",
    "emulator",
    "encode",
    "explain",
    "functional",
    "init",
    "inspect",
    "load",
    "losses",
    "models",
    "nir",
    "nn",
    "plot",
    "profile",
    "provenance",
    "reference",
    "save",
    "surrogate",
    "to_onnx",
    "train",
]

# Imported when they are first asked for: they need more packages, or more time.
_LAZY = ("data", "emulator", "inspect", "nir", "plot", "provenance", "reference", "train")


if not TYPE_CHECKING:  # a type checker would take every name for one of these

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return import_module(f"{__name__}.{name}")
        if name in ("explain", "profile"):
            return getattr(import_module(f"{__name__}.inspect"), name)
        if name == "convert":
            return import_module(f"{__name__}.conversion").convert
        if name == "to_onnx":
            return import_module(f"{__name__}.onnx").to_onnx
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register()
