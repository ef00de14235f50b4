"""Labels of samples: their type, their number and their range."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _checks


def checked(value: object, samples: int, classes: int | None = None) -> Tensor:
    """Return labels, int64 [samples]; ValueError otherwise, TypeError where they are no tensor. classes: as in `in_range`."""
    if not isinstance(value, Tensor):
        raise TypeError(f"labels must be a torch.Tensor, int64 [{samples}], got {type(value).__name__}")
    if value.dtype != torch.int64 or value.shape != (samples,):
        raise ValueError(f"labels must be int64 [{samples}], one per sample, got {_checks.shown(value)}")
    if classes is not None:
        in_range(value, classes)
    return value


def in_range(labels: Tensor, classes: int) -> None:
    """Raise ValueError for labels outside 0..classes-1; values on a device are waited for."""
    if not labels.numel() or not _checks.has_values(labels):
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels must be classes in 0..{classes - 1}, got {low if low < 0 else high}")
