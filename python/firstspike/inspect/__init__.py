"""Looking inside a net: what every layer does in a forward pass, operations per sample, statistics of its layers."""

from .advise import advise
from .cost import counts, profile
from .monitor import HISTOGRAM_EDGES, Monitor, Seen, layer_current, layer_signals
from .neurobench import neurobench
from .operations import synaptic_operations
from .plan import Plan, explain

__all__ = [
    "HISTOGRAM_EDGES",
    "Monitor",
    "Plan",
    "Seen",
    "advise",
    "counts",
    "explain",
    "layer_current",
    "layer_signals",
    "neurobench",
    "profile",
    "synaptic_operations",
]
