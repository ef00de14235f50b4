"""Layers, encoders and decoders as torch modules. Layers take and return `SpikeTimes`."""

from .decoders import FirstSpike, MembraneReadout, TemporalWeighting
from .direct import DirectConv2d, DirectLinear
from .encoders import LatencyEncoder, SpikeInput
from .firing import FiringLayer, bound_thresholds
from .image_scaling import Normalize
from .integrate import Integrate
from .node import TTFSNode
from .normalization import WeightNormalization
from .pool import EarliestPool2d, MaxPool2d
from .pooled_spikes import PooledSpikes
from .prepacked import Prepacked
from .residual import Residual
from .synapse import Affine, Synapse
from .ttfs import TTFSConv2d, TTFSLinear

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
    "Synapse",
    "TTFSConv2d",
    "TTFSLinear",
    "TTFSNode",
    "TemporalWeighting",
    "WeightNormalization",
    "bound_thresholds",
]
