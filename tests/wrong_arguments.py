"""Odd values that replace right arguments, and what a clear error is."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from firstspike import SpikeTimes, data, models, nn, surrogate

CALLS = int(os.environ.get("FIRSTSPIKE_FUZZ_CALLS", "30"))  # per function


def spikes(*shape: int, steps: int = 4) -> SpikeTimes:
    return SpikeTimes(torch.zeros(shape, dtype=torch.uint8), steps)


def floats(*shape: int) -> torch.Tensor:
    return torch.full(shape, 0.5)


ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 3, 2**63, 10**400, 1.5, float("nan"), float("inf"), 1e-46, 1j),
    *("", "x", "direct", b"b", [], [1], (1, 2), (1, 2, 3), {}, {"a": 1}, set(), object(), len, slice(0, 1), range(3)),
    *(np.float32(1), np.int64(3), np.zeros(2), np.array("a"), torch.tensor(2), torch.tensor(1.5), torch.tensor([])),
    *(floats(2), floats(2, 5), floats(2, 3, 4, 4), floats(0, 5), torch.full((2, 5), float("nan"))),
    *(torch.zeros(2, 5, dtype=kind) for kind in (torch.uint8, torch.bool, torch.int64, torch.float64, torch.complex64)),
    *(
        floats(2, 5).to_sparse(),
        torch.zeros(2, 5, device="meta"),
        torch.float32,
        torch.device("cpu"),
        torch.Generator(),
    ),
    *(spikes(2, 5), spikes(2, 3, 4, 4), spikes(0, 5), spikes(2, 5, steps=7), spikes(2, 3, 5)),
    *(surrogate.triangle(), nn.TTFSLinear(5, 3, steps=4), torch.nn.Linear(5, 3)),
]


def is_deliberate(error: Exception) -> bool:
    """Whether an error is of a kind that users expect and was raised by us on purpose, or names a file."""
    if isinstance(error, OSError):
        return error.filename is not None
    last = traceback.extract_tb(error.__traceback__)[-1]
    expected = isinstance(error, (TypeError, ValueError, IndexError, data.NotAvailable))
    return expected and "firstspike" in last.filename and (last.line or "").lstrip().startswith("raise ")


def is_clear(error: Exception) -> bool:
    """Whether an error comes from a check of ours on arguments, and says what must be."""
    said = isinstance(error, models.GrammarError) or any(word in str(error) for word in ("must", "needs", "cannot"))
    return said and not isinstance(error, OSError) and is_deliberate(error)


def check(
    function: Callable[..., Any],
    right: dict[str, Any],
    wrong: Iterable[dict[str, Any]],
    allowed: Callable[[Exception], bool] = is_clear,
) -> None:
    """Call with the right arguments, then with wrong ones: each call works, or its error is allowed."""
    function(**right)
    for changed in wrong:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function(**right | changed)
        except Exception as error:
            assert allowed(error), f"{changed}: {type(error).__name__}: {error}"
