"""Nets from strings such as "784-400-400-10" and "32C3-AP2-64C3-AP2-256-10"."""

from .build import build, cnn, from_config, mlp
from .frozen import FrozenNet, freeze
from .grammar import GrammarError, parse
from .net import TTFSNet
from .observation import Observation
from .relu import relu_twin

__all__ = [
    "FrozenNet",
    "GrammarError",
    "Observation",
    "TTFSNet",
    "build",
    "cnn",
    "freeze",
    "from_config",
    "mlp",
    "parse",
    "relu_twin",
]
