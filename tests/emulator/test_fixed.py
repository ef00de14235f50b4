"""The fixed-point primitives: values derived by hand, and properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike._base import _emulator as fixed


@pytest.mark.parametrize(
    ("x", "low", "high", "expected"),
    [
        (5, -8, 7, 5),
        (7, -8, 7, 7),
        (8, -8, 7, 7),
        (-8, -8, 7, -8),
        (-9, -8, 7, -8),
        (-9, -7, 7, -7),
        (-1, 0, 255, 0),
        (256, 0, 255, 255),
    ],
)
def test_saturate(x, low, high, expected):
    assert fixed.saturate32(x, low, high) == fixed.saturate64(x, low, high) == expected


@pytest.mark.parametrize(
    ("x", "low", "bits", "expected"),
    [
        (7, -8, 4, 7),  # 0111
        (8, -8, 4, -8),  # 1000 is -8 in four bits
        (9, -8, 4, -7),
        (16, -8, 4, 0),
        (-8, -8, 4, -8),
        (-9, -8, 4, 7),  # 10111 without its fifth bit
        (-17, -8, 4, -1),
        (255, 0, 8, 255),
        (256, 0, 8, 0),
        (-1, 0, 8, 255),
        (2**23, -(2**23), 24, -(2**23)),
        (-(2**23) - 1, -(2**23), 24, 2**23 - 1),
    ],
)
def test_wrap(x, low, bits, expected):
    assert fixed.wrap32(x, low, bits) == fixed.wrap64(x, low, bits) == expected


@given(st.integers(-(2**31), 2**31 - 1), st.integers(1, 31), st.booleans())
def test_wrap_is_congruent_and_in_range(x, bits, signed):
    low = -(2 ** (bits - 1)) if signed else 0
    y = fixed.wrap32(x, low, bits)
    assert low <= y < low + 2**bits and (y - x) % 2**bits == 0
    assert y == fixed.wrap64(x, low, bits)


@given(st.integers(-(2**60), 2**60), st.integers(2, 61))
def test_wrap_changes_nothing_in_range(x, bits):
    low = -(2 ** (bits - 1))
    assert (fixed.wrap64(x, low, bits) == x) == (low <= x < -low)


@pytest.mark.parametrize(
    ("x", "keep", "bits", "expected"),
    [
        (100, 3072, 12, 75),
        (-100, 3072, 12, -75),
        (1, 4095, 12, 0),
        (-1, 4095, 12, 0),  # 4095 / 4096 rounds toward zero, from both sides
        (7, 1, 1, 3),
        (-7, 1, 1, -3),
        (5, 0, 4, 0),
        (-5, 16, 4, -5),
    ],
)
def test_leak_rounds_toward_zero(x, keep, bits, expected):
    assert fixed.leak_toward_zero64(x, keep, bits) == expected


def test_shift_left_of_negative_values():
    assert fixed.shift_left32(-3, 6) == fixed.shift_left64(-3, 6) == -192
    assert fixed.shift_left32(-1, 31) == -(2**31)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_strict_threshold_is_the_next_integer(v, theta):
    assert (v > theta) == (v >= fixed.threshold_as_ge(theta, True))
    assert (v >= theta) == (v >= fixed.threshold_as_ge(theta, False))
