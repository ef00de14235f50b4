"""Refusals of SpikeTimes and surrogates: call, error, and the argument that the message names."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from firstspike import SpikeTimes, surrogate

BYTE = torch.zeros(1, 1, dtype=torch.uint8)
FLAT = SpikeTimes(torch.zeros(2, 12, dtype=torch.uint8), 4)
CALLS: dict[str, Callable[[Any], Any]] = {
    "times": lambda times: SpikeTimes(times, 4),
    "steps": lambda steps: SpikeTimes(BYTE, steps),
    "x": SpikeTimes.from_dense,
    "index": lambda index: FLAT[index],
    "start_dim": FLAT.flatten,
    "dt": FLAT.seconds,
    "width": surrogate.triangle,
    "alpha": surrogate.sigmoid,
    "kind": lambda kind: surrogate.Surrogate(kind, 1.0),
}
CASES: list[tuple[str, list[Any], type[Exception]]] = [
    ("times", [[[0]], torch.zeros(2, 3), torch.zeros(2, 3).long()], TypeError),
    ("times", [torch.zeros(3, dtype=torch.uint8), BYTE + 4, BYTE + 254], ValueError),
    ("steps", [0, 255], ValueError),
    ("steps", [4.0, None, True], TypeError),
    ("x", [[[[0.0]]], torch.zeros(1, 1, 1).double()], TypeError),
    ("x", [torch.zeros(1, 1)], ValueError),
    ("index", [0, (slice(None), 0)], TypeError),
    ("start_dim", [0, 2], ValueError),
    ("dt", ["ms"], TypeError),
    ("dt", [-1.0], ValueError),
    ("width", ["1", None], TypeError),
    ("width", [0, -1.0, math.inf, math.nan], ValueError),
    ("alpha", [0], ValueError),
    ("kind", ["square"], ValueError),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}, {case[2].__name__}")
def test_bad_arguments(case: tuple[str, list[Any], type[Exception]]) -> None:
    argument, values, error = case
    for value in values:
        with pytest.raises(error, match=argument):
            CALLS[argument](value)


@pytest.mark.parametrize("steps", [0, 255])
def test_a_train_has_1_to_254_steps(steps: int) -> None:
    with pytest.raises(ValueError, match="steps"):
        SpikeTimes.from_dense(torch.zeros(steps, 1, 1))


@pytest.mark.parametrize("shape", [(12, 2), (2, 7), (24,)])
def test_reshape_keeps_the_batch_and_the_size(shape: tuple[int, ...]) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        FLAT.reshape(*shape)
