"""Programs of nets of windows: as the float net up to rounding, as a prepared net exactly, in any register."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
import torch

import firstspike
from firstspike import models, nn
from firstspike.emulator import CannotQuantize, check, profile, qat, quantize, run
from firstspike.emulator.program.nir import to_nir
from firstspike.emulator.quantization.facts import core_layers
from firstspike.emulator.quantization.rounding import WindowedQuantize
from firstspike.nn.residual import fold_layers
from firstspike.ops.windowed import Neurons

SPECS = ("30-20-5", "6C3-AP2-8C3-MP2-12-5", "4C3s2-R(4C3)-AP2-R(6C3s2-6C3)-10-R(10-10)-5", "6C3-SP2-8C3-SP1x2-5")


def window_net(spec=SPECS[1], *, steps=7, seed=0):
    """A net with statistics, gamma and bias away from their first values."""
    draw = torch.Generator().manual_seed(seed)
    shape = (2, 16, 16) if "C" in spec else (30,)
    net = models.build(spec, input_shape=shape, steps=steps, timing="windowed", generator=draw, normalization=True)
    net(torch.rand((40, *shape), generator=draw))
    with torch.no_grad():
        for part in net.modules():
            if getattr(part, "gamma", None) is not None:
                part.gamma.copy_(0.6 + torch.rand(part.gamma.shape, generator=draw))
                part.bias.copy_(0.5 * torch.randn(part.bias.shape, generator=draw))
    return net.eval()


def levels(times, steps):
    return np.where(times == 255, 0, steps - times.astype(int))


def layers_of(program, net, x):
    """(levels of the program, levels of the net) of every layer that fires in both."""
    raw = program.engine().run(program.input_times(x))
    observed = net.observe(x)
    mine = [n for n, part in enumerate(core_layers(net)) if isinstance(part.module, nn.WindowedLinear | nn.WindowedConv2d)]
    for n, spikes in zip(mine, observed.layers, strict=True):
        layer = program.layers[n]
        theirs = spikes.times.numpy().reshape(len(x), *([1, 1] if spikes.times.dim() == 2 else []), *spikes.times.shape[1:])
        theirs = theirs.reshape(len(x), -1) if spikes.times.dim() == 2 else theirs.transpose(0, 2, 3, 1).reshape(len(x), -1)
        yield levels(raw.times[n], layer.steps), levels(theirs, layer.steps)


@pytest.mark.parametrize("chip", ["generic8", "loihi-like"])
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("steps", [4, 16, 255])
@pytest.mark.parametrize("shift", [0, 5])
def test_a_program_is_the_float_net_up_to_rounding(spec, steps, chip, shift):
    net = window_net(spec, steps=steps)
    x = torch.rand((30, *net.input_shape), generator=torch.Generator().manual_seed(1))
    wide = {"weight_bits": 16, "bias_bits": 30, "window_shift": shift}
    wide |= {f"{part}_bits": 32 - (part == "threshold") for part in ("membrane", "accumulator", "threshold")} if shift else {}
    program = quantize(net, profile.load(chip).replace(single_spike_steps=None, single_spike="native", **wide))
    result = run(program, x)
    assert all(all(layer.overflow_free().values()) for layer in program.layers)
    assert not result.counters[:, :, 5:].any()
    for mine, theirs in layers_of(program, net, x):
        assert (abs(mine - theirs) <= steps // 100).mean() > 0.95 and abs(mine - theirs).max() <= 1 + steps // 40
    scores = net(x).detach().numpy()
    assert (abs(result.scores * program.layers[-1].scale - scores) < 0.05 * abs(scores).max()).mean() > 0.95


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("chip", ["generic8", "loihi-like"])
def test_a_prepared_net_is_its_program_exactly(spec, bits, chip):
    chip = profile.load(chip).replace(window_shift=3 if bits == 4 else 0)
    net = qat.prepare(window_net(spec), chip, bits=bits)
    torch.manual_seed(0)
    x = torch.randint(0, 256, (20, *net.input_shape), dtype=torch.uint8)
    qat.finetune(net, x, torch.arange(20) % 5, batch=10, lr=0.01)
    program = quantize(net, chip)
    for mine, theirs in layers_of(program, net, x):
        np.testing.assert_array_equal(mine, theirs)
    scores = net(x).detach().numpy()
    np.testing.assert_allclose(run(program, x).scores * program.layers[-1].scale, scores, atol=1e-3 * abs(scores).max())
    assert torch.equal(pickle.loads(pickle.dumps(net))(x), net(x))
    other = qat.prepare(window_net(spec, seed=1), chip, bits=bits)
    other.load_state_dict(net.state_dict())
    for mine, theirs in zip(quantize(other, chip).layers, program.layers, strict=True):
        np.testing.assert_array_equal(mine.weight, theirs.weight)
        for part in set(type(mine.neuron).model_fields) & {"bias", "rise", "theta"}:
            np.testing.assert_array_equal(getattr(mine.neuron, part), getattr(theirs.neuron, part))
    with pytest.raises(CannotQuantize, match=r"call qat\.prepare with this profile and these settings"):
        quantize(net, chip, bits=5)


def test_normalisation_goes_on_in_a_prepared_net():
    net = qat.prepare(window_net(SPECS[2]), bits=4)
    layer = net.layers[0]
    with torch.no_grad():
        layer.gamma[0] = 0.0
        layer.gamma[1] *= -1
    before = [layer.gamma.detach().clone(), layer.running.clone()]
    x = torch.randint(0, 256, (21, *net.input_shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    qat.finetune(net, x, torch.arange(21) % 5, batch=10, lr=0.01)  # a batch of one image has no variance
    assert not any(torch.equal(old, new) for old, new in zip(before, (layer.gamma, layer.running), strict=True))
    for mine, theirs in layers_of(quantize(net), net, x):
        np.testing.assert_array_equal(mine, theirs)
    with torch.no_grad():
        layer.train().gamma[0] = 0.0
        weight = layer._weight_and_bias()[0] * layer.normalization_factor()[:, None, None, None]
    integers = weight / (layer.quantizer.scale * layer.quantizer.share)[:, None, None, None]
    assert 2 < abs(integers).max() < 8.001 and abs(integers - integers.round()).max() < 1e-4


@pytest.mark.parametrize("spec", SPECS)
def test_a_prepared_net_decides_in_evaluation_as_in_training(spec, monkeypatch):
    """But for the statistics, which are those of the batch in training."""
    net = qat.prepare(window_net(spec), bits=4)
    x = torch.randint(0, 256, (40, *net.input_shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    qat.finetune(net, x, torch.arange(40) % 5, batch=10, lr=0.003)

    def running(layer, bias):
        return Neurons(layer.clip, layer.steps, layer.gamma, bias, layer.running, layer.eps, False)

    expected = net(x)
    for layer in net.train().modules():
        if getattr(layer, "gamma", None) is not None:
            monkeypatch.setattr(layer, "_neurons", functools.partial(running, layer))
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bits", [3, 4])
def test_a_prepared_net_can_be_prepared_again(bits):
    net = qat.prepare(qat.prepare(window_net(SPECS[2]), bits=4), bits=bits)
    assert all(layer.bits == bits for layer in net.modules() if isinstance(layer, WindowedQuantize))
    x = torch.rand((10, *net.input_shape), generator=torch.Generator().manual_seed(1))
    for mine, theirs in layers_of(quantize(net), net, x):
        np.testing.assert_array_equal(mine, theirs)


def test_folding_leaves_a_prepared_net_as_it_is():
    net = qat.prepare(window_net(SPECS[2]), bits=3)
    x = torch.rand((10, *net.input_shape), generator=torch.Generator().manual_seed(1))
    before = net(x)
    fold_layers(net)
    assert torch.equal(net(x), before) and not any(getattr(layer, "quantizer", None) for layer in net.modules())


def test_a_layer_that_is_called_twice_is_refused():
    layer = nn.WindowedLinear(30, 30, steps=7)
    parts = {"encoder": nn.WindowedEncoder(), "readout": nn.WindowedReadout(30, 5), "input_shape": (30,)}
    net = models.TTFSNet([nn.Residual([layer]), layer], **parts)
    with pytest.raises(CannotQuantize, match="calls it twice"):
        qat.prepare(net)


def test_narrow_registers_never_overflow():
    net = window_net(SPECS[1], steps=16)
    narrow = profile.load("generic8").replace(membrane_bits=17, threshold_bits=16, membrane_overflow="error")
    x = torch.randint(0, 256, (20, 2, 16, 16), dtype=torch.uint8)
    program = quantize(net, narrow)
    assert any(row.get("scale_set_by_threshold") for row in program.table)
    for extreme in (x, x * 0, x * 0 + 255, (x > 127).to(torch.uint8) * 255):
        run(program, extreme)
    with pytest.raises(CannotQuantize, match=r"need more than the 6 bits of the membrane"):
        quantize(net, narrow.replace(membrane_bits=6, threshold_bits=5))


@pytest.mark.parametrize("factor", [1e-3, 1e-9, 1e-30, 0.0])
@pytest.mark.parametrize("chip", ["generic8", "loihi-like"])
def test_channels_whose_weights_vanish_fire_by_their_bias(factor, chip):
    net = window_net(SPECS[0], steps=16)
    net.layers[0].fold()
    with torch.no_grad():
        net.layers[0].weight[:5] *= factor
        net.layers[0].bias[:5] = torch.linspace(-0.5, 3, 5)
    x = torch.rand((30, *net.input_shape), generator=torch.Generator().manual_seed(1))
    (mine, theirs), *_ = layers_of(quantize(net, chip, granularity="channel"), net, x)
    assert abs(mine - theirs).max() <= 1 and (mine[:, :5] == theirs[:, :5]).mean() > 0.95


def test_converted_nets():
    torch.manual_seed(0)
    relu = torch.nn.Sequential(
        nn.Normalize((0.3, 0.5), (0.4, 0.2)),
        torch.nn.Conv2d(2, 6, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 6, 3, padding=1, groups=6),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2, 1),
        torch.nn.Flatten(),
        torch.nn.Linear(6 * 36, 5),
    ).eval()
    images = torch.randint(0, 256, (60, 2, 12, 12), dtype=torch.uint8)
    net = firstspike.convert(relu, images / 255, steps=64)
    program = quantize(net, profile.load("generic8").replace(weight_bits=12))
    result = run(program, images)
    assert [layer.neuron.kind == "pool" for layer in program.layers] == [False, False, True, False]
    np.testing.assert_allclose(result.scores * program.layers[-1].scale, net(images).detach().numpy(), atol=0.02)
    assert check(net).fits and qat.prepare(net).input_shape == (2, 12, 12)
    chain = torch.nn.Sequential(net.encoder, *net.layers, net.readout)
    with pytest.raises(ValueError, match="input_shape"):
        quantize(chain)
    assert check(models.as_net(chain, input_shape=(2, 12, 12))).fits


def test_a_chip_without_a_current_refuses():
    with pytest.raises(CannotQuantize, match=r"layers of windows need a current that stays on, the chip has none"):
        quantize(window_net(SPECS[0]), "odin-like")


def test_nir_has_no_windows():
    with pytest.raises(ValueError, match="NIR has no node for a neuron that fires in its own window"):
        to_nir(quantize(window_net(SPECS[0])))
