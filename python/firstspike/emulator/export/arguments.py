"""What all exports ask of a user: a folder that holds nothing else, and samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..._base import checks
from ...spikes import SpikeTimes


def folder(directory: str | os.PathLike[str], names: Sequence[str], mark: str) -> Path:
    """Return the folder of an export; ValueError if it has files of those names, and not `mark`, which each export writes."""
    path = checks.path("directory", directory)
    others = [name for name in names if (path / name).exists()]
    if others and not (path / mark).exists():
        raise ValueError(f"directory must be new, or of an earlier export; {path} has another {', '.join(others)}")
    return path


def samples(value: Tensor | SpikeTimes) -> Tensor | SpikeTimes:
    """Return the samples of test vectors, at least one."""
    checks.batch("samples", value, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
    if not len(value):
        raise ValueError("samples must hold at least one sample, or be None for no test vectors")
    return value
