"""Layers hold their weights in the narrowest type, whatever type they came in; static bounds on sums."""

from __future__ import annotations

import numpy as np
import pytest

from firstspike.emulator import Program, profile
from firstspike.emulator.export.steps import Steps
from firstspike.emulator.program.layers import Register
from firstspike.emulator.program.program import Engine

from .test_engine import layer


def test_weights_of_any_integer_type_make_the_same_layer():
    made = layer()
    times = np.array([[1, 2]], np.uint8)
    expected = Engine([made], 4).run(times, trace=True)

    def text(one):
        return Steps(Program(layers=[one], steps=4, profile=profile.load("generic8"))).source()

    assert "int8_t weights_0" in text(made)
    for kind in (np.int16, np.int32, np.int64, ">i8"):
        other = layer(weight=made.weight.astype(kind))
        raw = Engine([other], 4).run(times, trace=True)
        np.testing.assert_array_equal(raw.membrane[0], expected.membrane[0])
        assert other.weight.dtype == np.int8 and text(other) == text(made)


@pytest.mark.parametrize("value", [1 << 31, -(1 << 31) - 1, 0.5])
def test_weights_that_32_bits_do_not_hold_are_refused(value):
    with pytest.raises(ValueError, match="^weight"):
        layer(weight=np.array([[1, value], [0, 0]]))


def test_a_wrapped_sum_without_a_sign_may_overflow_the_membrane():
    made = layer(
        weight=np.array([[-1, 0], [0, 0]], np.int8), accumulator=Register.of(16, "unsigned", "wrap"), membrane=Register.of(16)
    )
    assert made.overflow_free() == {"accumulator": False, "membrane": False}
    signed = made.replace(accumulator=Register.of(16))
    assert signed.overflow_free() == {"accumulator": True, "membrane": True}
