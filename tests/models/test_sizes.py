"""Counts of the net of a string."""

import pytest

from firstspike.models import macs_of_spec


@pytest.mark.parametrize(
    ("spec", "macs"),
    [
        ("2C3-AP2-3", 64 * 2 * 9 + 3 * 2 * 16),
        ("2C3x5s2-3", 16 * 2 * 15 + 3 * 2 * 16),
        ("2C3-R(4C3-2C3)-AP2-3", 64 * (2 * 9 + 2 * 4 * 9 * 2) + 3 * 2 * 16),
        ("64-5-3", 64 * 5 + 5 * 3),
    ],
)
def test_multiply_accumulates_of_a_string(spec, macs):
    assert macs_of_spec(spec, (1, 8, 8)) == macs
