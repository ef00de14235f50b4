"""Nets from configs."""

import pytest

from firstspike.train import Config
from firstspike.train.build import build_model, weights_of_spec


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
    net = build_model(Config(data="digits", spec=spec, steps=4), input_shape=(1, 8, 8))
    assert sum(p.numel() for name, p in net.named_parameters() if name.endswith("weight")) == weights
