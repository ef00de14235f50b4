"""Helpers for the tests of damaged files: put a wrong value at any place, and run whatever could still be read."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

VALUES = st.sampled_from(
    [None, True, -1, 0, 1, 3, 255, 1 << 20, 1 << 40, 1 << 70, 0.5, "", "x", [], [1], [1, 2, 3], {}, {"low": 0}]
)


def change_one(data, record, depth=3):
    """Put one of `VALUES` at a place, drawn by `data`, of a record of dicts and lists that JSON held."""
    at = record
    key = data.draw(st.sampled_from(_keys(at)))
    for _ in range(depth - 1):
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
        key = data.draw(st.sampled_from(_keys(at)))
    at[key] = data.draw(VALUES)


def run_once(program):
    """Run a program that was read, on one sample whose neurons all fire at once."""
    program.engine().run(np.zeros((1, int(np.prod(program.input_shape))), np.uint8))


def _keys(at):
    return list(at) if isinstance(at, dict) else list(range(len(at)))
