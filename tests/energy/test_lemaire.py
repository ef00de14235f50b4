"""The published equations, written out once more with numbers, and parts that they do not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firstspike.energy import LayerCounts, lemaire

# 20 spikes of 100 inputs reach 10 neurons, which send 4, in 8 steps.
DENSE = LayerCounts(
    name="dense", neurons=10, inputs=100, outputs=10, weights=1000, macs=1000, events=20, additions=200, spikes=4, steps=8
)
# 30 spikes of 3 x 8 x 8 numbers; 5 kernels of 3 x 3 with a stride of 2 to 4 x 4 places; 7 spikes leave.
STRIDED = LayerCounts(
    name="strided",
    kind="convolution",
    neurons=5 * 4 * 4,
    inputs=3 * 8 * 8,
    outputs=5,
    taps=9,
    reached=4,
    weights=3 * 5 * 9,
    events=30,
    spikes=7,
    steps=6,
)


def ram(numbers: int) -> float:
    return 1.09e-5 * numbers * 32 + 13.2


def test_a_fully_connected_layer_to_the_digit():
    """Eq. 2.4, 5, 8, 10, 13, 15, 17.2 for N_in = 100, N_out = 10, theta = 20 and 4, T = 8; then 2.1, 2.2, 4, 6.2, 12."""
    found = lemaire.spiking(DENSE)
    assert found.potentials == pytest.approx(2 * (20 * 10 + 10 * 8) * ram(10))
    assert found.weights == pytest.approx(20 * 10 * ram(1000)) and found.biases == pytest.approx(10 * 8 * ram(10))
    assert found.signals == pytest.approx((20 + 4) * ram(1024))
    assert found.operations == pytest.approx((20 * 10 + 8 * 10 + 4) * 0.1) and found.addresses == pytest.approx(20 * 10 * 0.1)
    assert round(found.total, 2) == 11533.76
    dense = lemaire.relu(DENSE)
    assert dense.signals == pytest.approx(100 * ram(100) + 10 * ram(10)) and dense.operations == pytest.approx(3201.0)
    assert dense.weights == pytest.approx(1000 * ram(1000)) and dense.addresses == pytest.approx(100.0)
    assert round(dense.total, 2) == 18437.36


def test_a_convolution_to_the_digit():
    """Eq. 1.4, 5, 7, 9, 13, 14, 16.2, 16.3; then 1.1, 1.2, 3, 6.1, 11."""
    found, macs = lemaire.spiking(STRIDED), 5 * 16 * 3 * 9
    assert found.potentials == pytest.approx(2 * (30 * 5 * 9 + 80 * 6) * ram(80))
    assert found.weights == pytest.approx(30 * 5 * 9 * ram(135)) and found.biases == pytest.approx(80 * 6 * ram(5))
    assert found.signals == pytest.approx((30 + 7) * ram(1024))
    assert found.operations == pytest.approx((30 * 2 * 2 * 5 + 6 * 80 + 7) * 0.1)
    assert found.addresses == pytest.approx(30 * 2 * 3.2 + 30 * 5 * 9 * 0.1)
    dense = lemaire.relu(STRIDED)
    assert dense.signals == pytest.approx(macs * ram(192) + 80 * ram(80)) and dense.weights == pytest.approx(macs * ram(135))
    assert dense.operations == pytest.approx(macs * 3.2 + 80 * 0.1) and dense.addresses == pytest.approx((192 + 80 + 45) * 0.1)


def test_an_event_reaches_the_channels_of_its_group_alone():
    """A convolution of two groups costs what two of half the channels do, but for the sizes of their memories."""
    found, half = lemaire.spiking(replace(STRIDED, outputs=6, groups=2)), lemaire.spiking(replace(STRIDED, outputs=3))
    assert found.weights == half.weights and found.addresses == half.addresses


def test_a_layer_on_pixels_multiplies_as_the_dense_one_and_then_fires():
    found, dense = lemaire.spiking(replace(DENSE, events=0, additions=0, direct_macs=1000)), lemaire.relu(DENSE)
    assert found.weights == dense.weights and found.addresses == dense.addresses
    assert found.potentials == pytest.approx(2 * 10 * 8 * ram(10)) and found.operations == pytest.approx(3200 + 84 * 0.1)


def test_a_leak_is_a_multiply_add_per_neuron_and_step():
    assert lemaire.spiking(replace(DENSE, leaks=True)).total == pytest.approx(lemaire.spiking(DENSE).total + 80 * 3.2)
