"""One layer at a time is rounded: the rows between the float net and the rounded one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from firstspike import data, encode, models
from firstspike import emulator as em
from firstspike import nn as fs

from ..nets import SPECS, images, net, wide


def measured(model, profile="generic8", **options):
    x = images(model)
    return em.layer_sensitivity(model, profile, x, model(x).argmax(1), **options)


@pytest.mark.parametrize("spec", SPECS)
def test_first_the_float_net_then_each_layer_then_all(spec):
    model = net(spec)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = measured(model, bits=2)
    program = em.quantize(model, bits=2)
    assert found["layer"].tolist() == ["none", *(layer.name for layer in program.layers), "all"]
    assert found["accuracy"][0] == 1 and (found["change"] == found["accuracy"] - 1).all()
    x = images(model)
    assert found["accuracy"].iloc[-1] == em.run(program, x, labels=model(x).argmax(1)).accuracy
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items()) and not model.training


def test_it_finds_the_layer_that_loses():
    model, digits = models.load_pretrained("digits-mlp"), data.load("digits", train=False)
    with torch.no_grad():
        model.layers[1].fold().weight[
            0, 0
        ] = -1000  # the tensor's one scale becomes so coarse that the others round to 0
    options = {"bits": 4, "granularity": "tensor", "observer": "max"}
    found = em.layer_sensitivity(model, "generic8", digits.images, digits.labels, **options)
    change = found.set_index("layer")["change"]
    assert change["1:TTFSLinear"] < -0.5 and change["2:Integrate"] > -0.02 and change["all"] < -0.5


def test_rounding_far_below_float_changes_nothing():
    assert (measured(net(), wide())["change"] == 0).all()


def test_residual_blocks_shared_layers_chains_spikes_and_bytes():
    assert measured(net("4C3-R(4C3-4C3)-5"))["layer"].tolist()[1:3] == ["1.0:TTFSConv2d", "1.1:TTFSConv2d"]
    twice = fs.TTFSLinear(12, 12, steps=5)
    chain = nn.Sequential(fs.SpikeInput(5), twice, twice, fs.Integrate(12, 3, steps=5), fs.MembraneReadout())
    spikes = encode.latency(torch.rand(20, 12), 5)
    found = em.layer_sensitivity(chain, "generic8", spikes, torch.arange(20) % 3)
    assert found["layer"].tolist() == ["none", "0:TTFSLinear", "2:Integrate", "all"]
    maps = nn.Sequential(fs.DirectConv2d(1, 2, 3, steps=5), fs.Integrate(72, 3, steps=5), fs.MembraneReadout())
    x, y = (torch.rand(20, 1, 8, 8) * 255).to(torch.uint8), torch.arange(20) % 3
    scaling = data.Normalize((0.5,), (0.25,))
    one, other = (
        em.layer_sensitivity(maps, "loihi-like", x, y, normalize=scaling),
        em.layer_sensitivity(maps, "loihi-like", scaling(x), y),
    )
    assert one.equals(other)


def test_bad_arguments():
    model = net()
    x, labels = images(model), torch.zeros(40, dtype=torch.int64)
    with pytest.raises(ValueError, match="model must have float weights, but it is a net of qat.prepare"):
        em.layer_sensitivity(em.qat.prepare(model), "generic8", x, labels)
    with pytest.raises(ValueError, match="images must hold at least one image, got none"):
        em.layer_sensitivity(model, "generic8", x[:0], labels[:0])
    with pytest.raises(ValueError, match=r"labels must be int64 \[40\], one per sample"):
        em.layer_sensitivity(model, "generic8", x, labels[1:])
    with pytest.raises(ValueError, match="labels must be classes in 0..4, got 5"):
        em.layer_sensitivity(model, "generic8", x, labels + 5)
    with pytest.raises(ValueError, match="bits must be an int from 2 to 8"):
        em.layer_sensitivity(model, "generic8", x, labels, bits=9)
