"""Nets of windows: the C++ core against NumPy step by step; test_inference.py holds the closed form against it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes
from firstspike.emulator import OverflowRefused, place, report, run
from firstspike.emulator.placement import Costs
from firstspike.emulator.program import serialization
from firstspike.emulator.program.profile import CoreKind

from . import golden_windowed
from .networks import windowed_programs


@settings(max_examples=100)
@given(windowed_programs(), st.integers(1, 3))
def test_core_equals_golden(made, threads):
    program, times = made
    expected = golden_windowed.step_by_step(program, times)
    refused = any(
        counters[:, 5 + k].any()
        for layer, (_, _, counters) in zip(program.layers, expected, strict=True)
        for k, register in enumerate((layer.accumulator, layer.membrane))
        if register.policy == "error"
    )
    engine = program.engine()
    if refused:
        with pytest.raises(OverflowRefused, match=r"layer layer\d: the (accumulator|membrane) .* in sample \d"):
            engine.run(times, threads=threads)
        return
    raw = engine.run(times, threads=threads, trace=True)
    updated = program.updated_steps(raw.steps_run)[0]
    for n, (fired, membrane, counters) in enumerate(expected):
        np.testing.assert_array_equal(raw.times[n], fired)
        np.testing.assert_array_equal(raw.membrane[n], membrane)
        np.testing.assert_array_equal(raw.counters[:, n], counters)
        assert membrane.shape[1] == updated[n]
    np.testing.assert_array_equal(engine.run(times).membrane[-1][:, 0], expected[-1][1][:, -1])


@settings(max_examples=40)
@given(windowed_programs(), st.integers(0, 2**32))
def test_registers_that_cannot_overflow_do_not(made, seed):
    program, times = made
    rng = np.random.default_rng(seed)
    times = np.concatenate([times, np.where(rng.random(times.shape) < 0.5, 0, 255).astype(np.uint8)])
    for n, (_, _, counters) in enumerate(golden_windowed.step_by_step(program, times)):
        free = program.layers[n].overflow_free()
        assert not (counters[:, 5].any() and free["accumulator"])
        assert not (counters[:, 6].any() and free["membrane"] and free["accumulator"])


@settings(max_examples=50)
@given(windowed_programs())
def test_files(made):
    program, _ = made
    again = serialization.loads(serialization.dumps(program))
    assert again.has_synapses_of(program) and serialization.dumps(again) == serialization.dumps(program)


@settings(max_examples=25)
@given(windowed_programs(exact=True), st.integers(1, 40))
def test_placement_knows_every_synapse(made, room):
    program, times = made
    profile = program.profile.replace(shared_weights=False, cores=(CoreKind(count=5000, neurons=room),))
    placement = place(program.replace(profile=profile))
    for n, layer in enumerate(program.layers):
        slots = [slot for slot in placement.slots if slot.layer == n]
        assert sum(slot.neurons for slot in slots) == layer.neurons
        costs = Costs(layer, n, profile)
        inputs = list(golden_windowed.tables(layer))
        pools = [part.pool for part in layer.inputs]
        stored = sum(int(connected.sum()) // pool**2 for (*_, connected), pool in zip(inputs, pools, strict=True))
        assert costs.synapses(0, layer.neurons) == layer.synapses == stored
        for first, last in [(0, layer.neurons)] + ([(slots[0].first, slots[0].last)] if layer.groups == 1 else []):
            heard = costs.sources(first, last)
            for source in {source for source, *_ in inputs}:
                reach = [x[:, first:last].any(1) for s, _, _, x in inputs if s == source]
                np.testing.assert_array_equal(heard.neurons(source), np.any(reach, 0))
    made_report = report(run(program, SpikeTimes(torch.from_numpy(_in_torch_order(program, times)), program.steps)))
    assert made_report.summary()["latency_steps_mean"] == program.total_steps
    assert (made_report.layers()["updates_inactive"] >= 0).all() and made_report.text()


def _in_torch_order(program, times):
    height, width, channels = program.input_shape
    flat = height == width == 1
    return times if flat else times.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).copy()
