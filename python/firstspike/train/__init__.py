"""Training: a config in, a result out, with checkpoints from which an interrupted run resumes bit for bit."""

from __future__ import annotations

from .build import build_model, build_optimizer
from .checkpoint import BadCheckpoint
from .config import Augmentation, Config
from .evaluation import Diverged, evaluate, predict
from .fitting import fit
from .loading import load_data, load_info, load_model
from .muon import Muon
from .penalty import SpikeCost
from .recipe import recipe
from .result import Epoch, Metrics, Result, RunInfo

__all__ = [
    "Augmentation",
    "BadCheckpoint",
    "Config",
    "Diverged",
    "Epoch",
    "Metrics",
    "Muon",
    "Result",
    "RunInfo",
    "SpikeCost",
    "build_model",
    "build_optimizer",
    "evaluate",
    "fit",
    "load_data",
    "load_info",
    "load_model",
    "predict",
    "recipe",
]
