"""Counts of the net of a string."""

import pytest

from firstspike import models
from firstspike.models.sizes import macs_of_spec, neurons_of_spec, weights_of_spec


@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        ("2C3-AP2-3", 2 * 9 + 3 * 2 * 16),
        ("2C3x5-3", 2 * 15 + 3 * 2 * 64),
        ("2C3-R(4C3-2C3)-AP2-3", 2 * 9 + 2 * 4 * 9 * 2 + 3 * 2 * 16),
    ],
)
def test_weights_of_a_string_are_those_of_its_net(spec, weights):
    assert weights_of_spec(spec, (1, 8, 8)) == weights
    net = models.build(spec, input_shape=(1, 8, 8), steps=4)
    assert sum(p.numel() for name, p in net.named_parameters() if name.endswith("weight")) == weights


@pytest.mark.parametrize(
    ("spec", "neurons"),
    [
        ("2C3-AP2-3", 2 * 64 + 3),
        ("2C3-R(4C3-2C3)-AP2-3", 2 * 64 + 4 * 64 + 2 * 64 + 3),
        ("64-5-3", 5 + 3),
    ],
)
def test_neurons_of_a_string(spec, neurons):
    assert neurons_of_spec(spec, (1, 8, 8)) == neurons
    assert neurons_of_spec(spec, (1, 8, 8), population=10) == neurons + 9 * 3


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
