"""Nets from configs."""

import pytest

from firstspike.models.sizes import macs_of_spec, neurons_of_spec, weights_of_spec
from firstspike.train import Config
from firstspike.train.build import build_model


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


@pytest.mark.parametrize("batch", [128, 2])
def test_a_net_whose_batch_does_not_fit_is_refused_before_anything_is_allocated(monkeypatch, batch):
    # the weights of 2,000 neurons take 4.7 MB here, the neurons of a batch of 128 another 2 MB
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 6_000_000}
    monkeypatch.setattr("firstspike.train.build.os.sysconf", pages.__getitem__)
    config = Config(data="digits", spec="64-2000-10", steps=4, batch=batch)
    if batch == 2:
        build_model(config, input_shape=(1, 8, 8))
    else:
        with pytest.raises(
            ValueError, match="148,000 weights and 2,010 neurons; training with batch 128 takes about 0 GiB"
        ):
            build_model(config, input_shape=(1, 8, 8))
