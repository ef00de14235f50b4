"""Nets from strings such as "784-400-400-10" and "32C3-AP2-64C3-AP2-256-10"."""

from .builder import build, from_config, mlp
from .chain import as_net
from .grammar import GrammarError, parse
from .inference import InferenceNet, prepare_for_inference
from .net import Observation, TTFSNet
from .relu import ReluNet, relu_counterpart
from .shipped import load_pretrained, pretrained, pretrained_file
from .sizes import macs_of_spec
from .stopping import stop_after

__all__ = [
    "GrammarError",
    "InferenceNet",
    "Observation",
    "ReluNet",
    "TTFSNet",
    "as_net",
    "build",
    "from_config",
    "load_pretrained",
    "macs_of_spec",
    "mlp",
    "parse",
    "prepare_for_inference",
    "pretrained",
    "pretrained_file",
    "relu_counterpart",
    "stop_after",
]
