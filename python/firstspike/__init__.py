"""firstspike: time-to-first-spike spiking neural networks, in which every neuron fires at most once."""

from . import functional, surrogate
from .spikes import SpikeTimes

__all__ = ["SpikeTimes", "functional", "surrogate"]
