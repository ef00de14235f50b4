"""Training: a config in, a result out, with checkpoints from which an interrupted run goes on bit for bit."""

from __future__ import annotations

from .batches import Pixels
from .build import build_model, build_optimizer
from .checkpoint import BadCheckpoint
from .config import Augmentation, Config
from .evaluation import evaluate
from .fit import fit
from .loop import Diverged
from .metrics import Metrics
from .result import Epoch, Result
from .saved import Trained, load_model, save_model

__all__ = [
    "Augmentation",
    "BadCheckpoint",
    "Config",
    "Diverged",
    "Epoch",
    "Metrics",
    "Pixels",
    "Result",
    "Trained",
    "build_model",
    "build_optimizer",
    "evaluate",
    "fit",
    "load_model",
    "save_model",
]
