"""Training: a config in, a result out, with checkpoints from which an interrupted run resumes bit for bit."""

from __future__ import annotations

from .build import build_model, build_optimizer
from .checkpoint import BadCheckpoint
from .config import Augmentation, Config
from .evaluation import evaluate
from .fitting import fit
from .loop import Diverged
from .metrics import Metrics
from .model_file import load_model, save_model
from .muon import Muon
from .result import Epoch, Result
from .run_data import load_own
from .trained import Trained

__all__ = [
    "Augmentation",
    "BadCheckpoint",
    "Config",
    "Diverged",
    "Epoch",
    "Metrics",
    "Muon",
    "Result",
    "Trained",
    "build_model",
    "build_optimizer",
    "evaluate",
    "fit",
    "load_model",
    "load_own",
    "save_model",
]
