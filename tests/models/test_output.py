"""An output layer that fires can have a gain and a surrogate of its own."""

import pytest
import torch

from firstspike import models
from firstspike import nn as fs
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


@pytest.mark.parametrize("spec", ["4C3-AP2-6C3-AP2-8-3", "4C3-R(4C3-4C3)-AP2-3"])
@pytest.mark.parametrize("readout", ["twd-exp", "membrane"])
def test_hidden_gain_scales_the_hidden_layers_that_get_spikes(spec, readout):
    plain, own = (build(spec, readout=readout, **options) for options in ({}, {"hidden_gain": 0.7}))
    layers = {name for name, layer in own.named_modules() if hasattr(layer, "effective_weight_and_bias")}
    hidden = layers - {"layers.0", f"layers.{len(own.layers) - 1}"}
    assert len(hidden) == 2
    for name in layers:
        before, after = (dict(net.named_modules())[name].effective_weight_and_bias()[0] for net in (plain, own))
        assert torch.allclose(after, before * (0.7 if name in hidden else 1.0), atol=1e-6), name
    assert models.from_config(own.config()).config()["hidden_gain"] == 0.7


def test_a_convolution_is_built_again_with_its_gain():
    layer = fs.TTFSConv2d(2, 3, 3, steps=4, avg_pool=2, gain=0.5)
    assert fs.TTFSConv2d(**layer.settings() | {"surrogate": layer.surrogate}).gain == 0.5
    assert "gain" not in fs.TTFSConv2d(2, 3, 3, steps=4, avg_pool=2).settings()
    with pytest.raises(ValueError, match="gain must be"):
        fs.TTFSConv2d(2, 3, 3, steps=4, gain=-1.0)


def test_a_net_is_built_again_from_its_config():
    net = build(output_gain=0.5, output_surrogate=triangle(1.5))
    again = models.from_config(net.config())
    assert again.config() == net.config()
    assert again.layers[-1].gain == 0.5 and again.layers[-1].surrogate == triangle(1.5)
    assert build().config()["output_gain"] is None


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
    with pytest.raises(ValueError, match="hidden_gain must be"):
        build(hidden_gain=-0.5)
    with pytest.raises(TypeError, match="output_surrogate must be a firstspike.surrogate"):
        build(output_surrogate=1.5)
