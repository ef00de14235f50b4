"""Helpers for the tests of damaged files: put a wrong value at any place, and run whatever could still be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NUMBERS = [*range(-1, 4), 5, 7, 8, 60, 61, 62, 127, 128, *range(253, 257), 1 << 20, 1 << 31, 1 << 40, 1 << 62, 1 << 70]
VALUES = [*NUMBERS, None, True, 0.5, "", "x", [], [1], [1, 2, 3], {}, {"low": 0}]


def change_one(choose: Callable[[list], Any], record, depth=3):
    """Put one of `VALUES` at a place of a record of dicts and lists that JSON held; choose: takes one of a list."""
    at, key = record, choose(_keys(record))
    for _ in range(depth - 1):
        if not isinstance(at[key], dict | list) or not at[key] or choose([True, False]):
            break
        at = at[key]
        key = choose(_keys(at))
    at[key] = choose(VALUES)


def run_once(program):
    """Run a program that was read, on one sample whose neurons all fire at once."""
    program.engine().run(np.zeros((1, int(np.prod(program.input_shape))), np.uint8))


def _keys(at):
    return list(at) if isinstance(at, dict) else list(range(len(at)))
