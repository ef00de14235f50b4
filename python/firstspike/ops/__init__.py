"""The fused kernels as torch operators: schema, fake kernel, gradient and implementations, one file a subject."""

from ._cuda import support_capacity
from .dropout import LOTS, dropout
from .fire import fire
from .integrate import integrate_layer
from .latency import latency
from .layer import fire_layer
from .normalize import normalize_weight
from .ramp import ramp
from .times import dense, dense_edge, from_dense

__all__ = [
    "LOTS",
    "dense",
    "dense_edge",
    "dropout",
    "fire",
    "fire_layer",
    "from_dense",
    "integrate_layer",
    "latency",
    "normalize_weight",
    "ramp",
    "support_capacity",
]
