"""Layers hold their weights in the narrowest type, whatever type they came in."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from firstspike.emulator.export import c_network
from firstspike.emulator.program import profile
from firstspike.emulator.program.engine import Engine
from firstspike.emulator.program.layers import Register, Shortcut
from firstspike.emulator.program.program import Program

from .test_engine import layer


def test_weights_of_any_integer_type_make_the_same_layer():
    made = layer()
    times = np.array([[1, 2]], np.uint8)
    expected = Engine([made], steps=4, total_steps=4).run(times, trace=True)
    text = c_network.source(Program([made], 4, profile.load("generic8")))
    assert "int8_t weights_0" in text
    for kind in (np.int16, np.int32, np.int64, ">i8"):
        other = layer(weight=made.weight.astype(kind))
        assert other.weight.dtype == np.int8
        raw = Engine([other], steps=4, total_steps=4).run(times, trace=True)
        np.testing.assert_array_equal(raw.membrane[0], expected.membrane[0])
        assert c_network.source(Program([other], 4, profile.load("generic8"))) == text


def test_the_type_holds_the_largest_and_the_lowest_weight():
    for value, kind in ((127, "int8"), (-129, "int16"), (1 << 15, "int32"), (-(1 << 31), "int32")):
        weight = np.array([[1, value], [0, 0]], np.int64)
        assert layer(weight=weight).weight.dtype == kind and (layer(weight=weight).weight == weight).all()


@pytest.mark.parametrize("value", [(1 << 32) + 1, 1 << 31, -(1 << 31) - 1])
def test_weights_beyond_32_bits_are_refused(value):
    weight = np.array([[1, value], [0, 0]], np.int64)
    with pytest.raises(ValueError, match=r"layer a: weight must fit 32 bits, got integers from -?\d+ to \d+"):
        layer(weight=weight)
    with pytest.raises(ValueError, match="layer a: weight of the shortcut must fit 32 bits"):
        layer(shortcut=Shortcut(-1, (1, 1, 2), weight[0]))


def test_weights_that_are_no_signed_integers_are_refused():
    for weight, kind in ((np.ones((2, 2)), "float64"), (np.ones((2, 2), np.uint8), "uint8"), ([[1, 2]], "list")):
        with pytest.raises(TypeError, match=f"layer a: weight must hold signed integers, got {kind}"):
            layer(weight=weight)


def test_a_shortcuts_weights_are_narrowed_too():
    made = layer(shortcut=Shortcut(-1, (1, 1, 2), np.array([1, -200])))
    assert made.shortcut.weight.dtype == np.int16 and made.shortcut.weight.tolist() == [1, -200]


def test_a_wrapped_sum_without_a_sign_may_overflow_the_membrane():
    made = layer(
        weight=np.array([[-1, 0], [0, 0]], np.int8),
        accumulator=Register.of(16, "unsigned", "wrap"), membrane=Register.of(16), update="clocked",
    )  # fmt: skip
    assert made.overflow_free() == {"accumulator": False, "membrane": False}
    signed = dataclasses.replace(made, accumulator=Register.of(16))
    assert signed.overflow_free() == {"accumulator": True, "membrane": True}
