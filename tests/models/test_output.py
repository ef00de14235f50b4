"""An output layer that fires can have a gain and a surrogate of its own."""

import pytest
import torch

from firstspike import models
from firstspike.surrogate import triangle


def build(spec="4C3-AP2-6-3", **options):
    options = {"input_shape": (1, 4, 4), "steps": 4, "readout": "twd-exp"} | options
    return models.build(spec, generator=torch.Generator().manual_seed(0), **options)


def test_only_the_output_layer_changes():
    plain, own = build(), build(output_gain=0.5, output_surrogate=triangle(1.5))
    assert [layer.surrogate.scale for layer in own.layers] == [0.9, 0.9, 1.5]
    assert own.layers[-1].gain == 0.5 and own.layers[1].gain == plain.layers[1].gain
    for before, after in zip(plain.layers[:-1], own.layers[:-1], strict=True):
        assert torch.equal(before.weight, after.weight)
    assert torch.allclose(own.layers[-1].weight, 0.5 * plain.layers[-1].weight)
    weight, _ = own.layers[-1].effective_weight_and_bias()
    assert float(weight.detach().std(correction=0)) == pytest.approx(0.5 * (4 / 6) ** 0.5, rel=1e-4)  # gain sqrt(T / N)


def test_a_net_is_built_again_from_its_config():
    net = build(output_gain=0.5, output_surrogate=triangle(1.5))
    again = models.from_config(net.config())
    assert again.config() == net.config()
    assert again.layers[-1].gain == 0.5 and again.layers[-1].surrogate == triangle(1.5)
    assert "output_gain" not in build().config()


@pytest.mark.parametrize("options", [{"output_gain": 0.5}, {"output_surrogate": triangle(1.5)}])
def test_an_output_that_does_not_fire_or_gets_no_spikes_has_neither(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} needs an output layer that gets spikes and fires"):
        build(readout="membrane", **options)
    with pytest.raises(ValueError, match=name):
        build(spec="16-3", **options)


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match="output_gain must be"):
        build(output_gain=0.0)
    with pytest.raises(TypeError, match="output_surrogate must be a firstspike.surrogate"):
        build(output_surrogate=1.5)
