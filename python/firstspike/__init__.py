"""firstspike: time-to-first-spike spiking neural networks, in which every neuron fires at most once."""

from . import decode, encode, functional, init, models, nn, surrogate
from ._extension import backends
from .spikes import SpikeTimes

__version__ = "0.2.0"
__all__ = [
    "SpikeTimes",
    "__version__",
    "backends",
    "decode",
    "encode",
    "functional",
    "init",
    "models",
    "nn",
    "surrogate",
]
