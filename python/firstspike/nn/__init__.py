"""Layers, encoders and decoders as torch modules. Layers take and return `SpikeTimes`."""

from .averaging import average_before
from .coders import FirstSpike, LatencyEncoder, MembraneReadout, SpikeInput, TemporalWeighting
from .direct import DirectConv2d, DirectLinear
from .firing import FiringLayer, StepNeuron, TTFSNode, bound_thresholds
from .image_scaling import Normalize
from .pool import EarliestPool2d, MaxPool2d, PooledSpikes
from .prepacked import Prepacked
from .residual import Residual
from .synapses import Affine, Synapses
from .ttfs import Integrate, TTFSConv2d, TTFSLinear
from .weight_normalization import WeightNormalization
from .windowed import (
    WindowedAvgPool2d,
    WindowedConv2d,
    WindowedEncoder,
    WindowedLinear,
    WindowedMaxPool2d,
    WindowedReadout,
    WindowedShortcut,
)

__all__ = [
    "Affine",
    "DirectConv2d",
    "DirectLinear",
    "EarliestPool2d",
    "FiringLayer",
    "FirstSpike",
    "Integrate",
    "LatencyEncoder",
    "MaxPool2d",
    "MembraneReadout",
    "Normalize",
    "PooledSpikes",
    "Prepacked",
    "Residual",
    "SpikeInput",
    "StepNeuron",
    "Synapses",
    "TTFSConv2d",
    "TTFSLinear",
    "TTFSNode",
    "TemporalWeighting",
    "WeightNormalization",
    "WindowedAvgPool2d",
    "WindowedConv2d",
    "WindowedEncoder",
    "WindowedLinear",
    "WindowedMaxPool2d",
    "WindowedReadout",
    "WindowedShortcut",
    "average_before",
    "bound_thresholds",
]
