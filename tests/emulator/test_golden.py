"""The C++ core against the independent NumPy model: times, membranes, counters, every step of every neuron."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike.emulator.program.program import COUNTERS, Engine, OverflowRefused

from . import golden
from .networks import networks


def test_counter_names_agree():
    assert COUNTERS == golden.COUNTERS


@settings(max_examples=1500)
@given(networks(), st.booleans(), st.integers(1, 3))
def test_core_equals_golden(network, early_exit, threads):
    layers, steps, total_steps, times = network
    early_exit = early_exit and layers[-1].fires
    expected = [golden.run(layers, total_steps, sample, early_exit) for sample in times]
    core = Engine(layers, steps)
    refused = any(
        e.counters[n, 5 + k]
        for e in expected
        for n, layer in enumerate(layers)
        for k, r in enumerate((layer.accumulator, layer.membrane))
        if r.policy == "error"
    )
    if refused:
        with pytest.raises(OverflowRefused, match=r"layer layer\d: the (accumulator|membrane) .* in sample \d"):
            core.run(times, threads=threads, early_exit=early_exit)
        return
    raw = core.run(times, threads=threads, early_exit=early_exit, all_times=True, trace=True)
    for b, one in enumerate(expected):
        assert raw.steps_run[b] == one.steps_run
        np.testing.assert_array_equal(raw.counters[b], one.counters)
        for n in range(len(layers)):
            np.testing.assert_array_equal(raw.times[n][b], one.times[n])
            np.testing.assert_array_equal(raw.membrane[n][b], one.membrane[n])
        if layers[-1].fires:
            np.testing.assert_array_equal(raw.overshoot[b], one.overshoot)
