"""Looking inside a net: what every layer does in a forward pass, operations per sample, statistics of its layers."""

from .monitor import Monitor, Seen
from .operations import OperationCount, OperationCounter, synaptic_operations
from .plan import Plan, explain
from .profiling import profile
from .signals import HISTOGRAM_EDGES, layer_current, layer_signals

__all__ = [
    "HISTOGRAM_EDGES",
    "Monitor",
    "OperationCount",
    "OperationCounter",
    "Plan",
    "Seen",
    "explain",
    "layer_current",
    "layer_signals",
    "profile",
    "synaptic_operations",
]
