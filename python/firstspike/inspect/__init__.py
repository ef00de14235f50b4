"""Looking inside a net: operations per sample, statistics of its layers."""

from .operations import OperationCount, OperationCounter, synaptic_operations
from .signals import HISTOGRAM_EDGES, layer_signals

__all__ = ["HISTOGRAM_EDGES", "OperationCount", "OperationCounter", "layer_signals", "synaptic_operations"]
