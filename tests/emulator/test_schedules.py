"""Every schedule of a net of windows gives the same bits: clocked, neuron by neuron, with payload; in the core, IntegerNet, C."""

from __future__ import annotations

import contextlib

import numpy as np
from hypothesis import assume, given, settings

from firstspike import emulator as em

from . import golden_windowed, schedules
from .export.test_exporting import compiled, needs_compiler
from .networks import windowed_programs
from .test_inference import spikes_of


@settings(max_examples=40)
@given(windowed_programs())
def test_neuron_by_neuron_is_clocked_also_where_registers_overflow(made):
    program, times = made
    times = times[:4]
    clocked = golden_windowed.step_by_step(program, times)
    for (fired, membrane), (expected, trace, _) in zip(schedules.neuron_by_neuron(program, times), clocked, strict=True):
        np.testing.assert_array_equal(fired, expected)
        silent = expected == 255
        np.testing.assert_array_equal(membrane[silent], trace[:, -1][silent])


@settings(max_examples=40)
@given(windowed_programs(exact=True))
def test_core_and_integer_net_equal_both_twins(made):
    program, times = made
    raw = program.engine().run(times, all_times=True)
    for twin in (schedules.neuron_by_neuron, schedules.with_payload):
        layers = twin(program, times)
        for n, (fired, _) in enumerate(layers):
            np.testing.assert_array_equal(raw.times[n], fired)
        scores = layers[-1][1]
        np.testing.assert_array_equal(raw.membrane[-1][:, -1], scores)
        with contextlib.suppress(ValueError):  # more than 16 or 32 bits
            np.testing.assert_array_equal(em.IntegerNet(program)(spikes_of(program, times)).numpy(), scores)


@needs_compiler
@settings(max_examples=5)
@given(windowed_programs(exact=True))
def test_exported_c_equals_both_twins(tmp_path_factory, made):
    """Its test vectors are the emulator's results, which the twins give as well."""
    program, times = made
    assume(all(all(layer.overflow_free().values()) for layer in program.layers))
    result = em.run(program, spikes_of(program, times))
    for twin in (schedules.neuron_by_neuron, schedules.with_payload):
        np.testing.assert_array_equal(twin(program, times)[-1][1].reshape(result.scores.shape), result.scores)
    folder = tmp_path_factory.mktemp("c")
    em.export_c(program, folder, samples=spikes_of(program, times))
    status, text = compiled(folder)
    assert status == 0 and f"equal to the emulator: {len(times)} of {len(times)} samples" in text, text
