"""The readable float64 reference of every fused function: plain torch, a loop over the steps, autograd, float32 or float64.

Names and signatures are those of `firstspike.functional`, `firstspike.encode` and `firstspike.decode`; a call takes a
`SpikeTrain` (or `SpikeTimes`) and returns a `SpikeTrain`, which holds all T steps and thereby its own gradient. It
computes in the float type of the weight or current that it is given. Slow on purpose: tests compare with it. To stay
readable it does not check its arguments; the fused functions of the same names do.
"""

from .coding import latency
from .decoding import decision_step, first_spike, population, temporal_weighting, ties
from .decoding import membrane as decode_membrane
from .layers import conv2d, conv2d_current, dropout, integrate, linear, linear_current, ramp
from .neuron import fire, margin, membrane, surrogate_derivative
from .normalization import normalize_weight
from .spike_train import SpikeTrain

__all__ = [
    "SpikeTrain",
    "conv2d",
    "conv2d_current",
    "decision_step",
    "decode_membrane",
    "dropout",
    "fire",
    "first_spike",
    "integrate",
    "latency",
    "linear",
    "linear_current",
    "margin",
    "membrane",
    "normalize_weight",
    "population",
    "ramp",
    "surrogate_derivative",
    "temporal_weighting",
    "ties",
]
