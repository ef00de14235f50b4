"""A `torch.nn.Sequential` of our layers is used like a TTFSNet: prepared, quantised, checked, written as NIR."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import firstspike
from firstspike import SpikeTimes, emulator, models, train
from firstspike import nn as fs

from ..samples import generator

T = 6


def dense() -> nn.Sequential:
    torch.manual_seed(0)
    hidden = nn.Sequential(fs.DirectLinear(16, 12, steps=T), fs.TTFSLinear(12, 8, steps=T, normalization=True))
    return nn.Sequential(hidden, nn.Identity(), fs.Integrate(8, 4, steps=T), fs.MembraneReadout("mean")).eval()


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        fs.LatencyEncoder(T),
        fs.TTFSConv2d(1, 3, 3, padding=1, steps=T),
        nn.Flatten(),
        fs.TTFSLinear(3 * 16, 8, steps=T),
        fs.TemporalWeighting(classes=4),
    ).eval()


def first_spike() -> nn.Sequential:
    torch.manual_seed(0)
    layers = fs.DirectLinear(16, 12, steps=T), fs.TTFSLinear(12, 8, steps=T)
    return nn.Sequential(*layers, fs.FirstSpike(classes=4, scale=2.0)).eval()


def test_ties_of_first_spikes_stay_where_the_chain_has_them() -> None:
    """Its readout sees spikes only; a net of the same layers also compares their membranes."""
    chain, x = first_spike(), torch.rand(40, 16, generator=generator(1))
    net = models.as_net(chain)
    with torch.no_grad():
        scores = chain(x)
        assert (scores == scores.amax(1, keepdim=True)).sum(1).max() > 1  # there are ties
        assert torch.equal(net(x), scores) and torch.equal(net.observe(x).scores, scores)
        assert torch.equal(models.prepare_for_inference(chain)(x), scores)
        aware = models.TTFSNet(list(chain[:2]), encoder="direct", readout=fs.FirstSpike(classes=4), input_shape=(16,))
        assert not torch.equal(aware(x).argmax(1), scores.argmax(1))
    assert chain[-1].overshoot and net.readout.settings() == {"classes": 4, "scale": 2.0, "overshoot": False}
    program = emulator.quantize(chain, bits=8)
    assert program.readout.mode == "index" and emulator.quantize(aware, bits=8).readout.mode == "last"
    run = emulator.run(program, x)
    tied = run.ties & (run.predictions != emulator.run(emulator.quantize(aware, bits=8), x).predictions)
    assert tied.any()


def test_the_net_has_the_modules_of_the_chain_and_its_scores() -> None:
    for chain, shape in ((dense(), (16,)), (convolutional(), (1, 4, 4))):
        net = models.as_net(chain, None if len(shape) == 1 else shape)
        assert net.input_shape == shape and net.layers[0] in list(chain.modules())
        x = torch.rand(9, *shape, generator=generator(1))
        assert torch.equal(net(x), chain(x))
        assert models.as_net(net) is net
    assert isinstance(models.as_net(nn.Sequential(*list(dense().children())[2:])).encoder, fs.SpikeInput)


def test_a_chain_of_windows_is_a_windowed_net() -> None:
    layers = [fs.WindowedConv2d(1, 3, 3, steps=4), nn.Identity(), fs.WindowedLinear(12, 5, steps=9), fs.WindowedReadout(5, 3)]
    chain = nn.Sequential(nn.Identity(), fs.Normalize(0.0, 2.0), fs.WindowedEncoder(), *layers)
    x = torch.rand(9, 1, 4, 4, generator=generator(1))
    net = models.as_net(chain.eval(), (1, 4, 4))
    assert net.timing == "windowed" and net.latency == 13 and torch.equal(net(x), chain(x))
    assert train.evaluate(chain, (x, torch.arange(9) % 3)).steps_mean == 13
    assert emulator.quantize(chain, calibration=x).input_shape == (4, 4, 1) and emulator.check(net).fits
    assert models.as_net(nn.Sequential(fs.WindowedEncoder(), *layers[2:])).input_shape == (12,)


def test_prepared_quantised_and_checked() -> None:
    chain, x = dense(), torch.rand(9, 16, generator=generator(1))
    with torch.no_grad():
        assert torch.equal(models.prepare_for_inference(chain)(x), chain(x))
    assert emulator.check(chain).fits
    one, other = (emulator.quantize(net, calibration=x) for net in (chain, models.as_net(chain)))
    assert (emulator.run(one, x).predictions == emulator.run(other, x).predictions).all()
    assert emulator.qat.is_prepared(emulator.qat.prepare(chain, bits=4))
    images = torch.rand(9, 1, 4, 4, generator=generator(1))
    assert emulator.quantize(convolutional(), calibration=images).input_shape == (4, 4, 1)  # of the calibration
    assert firstspike.profile(chain, x)["layer"].iloc[-1] == "total"


class Silenced(nn.Identity):
    """By its kind what a net passes over, but it does something."""

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        return SpikeTimes(torch.full_like(spikes.times, 255), T)


def test_a_part_with_a_forward_of_its_own_is_not_passed_over() -> None:
    chain = nn.Sequential(fs.DirectLinear(16, 8, steps=T), Silenced(), fs.Integrate(8, 4, steps=T), fs.MembraneReadout())
    x = torch.rand(5, 16, generator=generator(0))
    assert torch.equal(models.as_net(chain.eval())(x), chain(x))
    with pytest.raises(TypeError, match="Silenced"):
        emulator.quantize(chain)
