"""Scales of weights that integers represent exactly."""

from __future__ import annotations

import numpy as np
import pytest

from firstspike.emulator.program import profile
from firstspike.emulator.quantization import scales


@pytest.mark.parametrize("observer", scales.OBSERVERS)
def test_weights_on_a_grid_of_a_power_of_two_are_exact(observer):
    weight = np.array([[-3.0, 0.0, 1.0, 2.0], [0.25, 0.5, -1.5, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 0.0]])
    found = scales.choose_scale(weight, 8, 2, observer)
    assert found[:2].tolist() == [2.0**-6, 2.0**-7]
    q = scales.round_weights(weight, found[:, None], 8, step=2)
    assert (q[:2] * found[:2, None] == weight[:2]).all() and np.abs(q).max() <= 254
    assert found[2] == pytest.approx(0.4 / 254, rel=0.9) and found[2] != 2.0**-9
    assert scales.theta_integer(2.0, 2.0**-6, 1, profile.load("generic8")) == 128
    above = float(np.nextafter(np.float32(2), np.float32(3)))  # of a neuron that fires at > 2
    assert scales.theta_integer(above, 2.0**-6, 1, profile.load("generic8")) == 129
