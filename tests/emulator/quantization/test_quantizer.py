"""From float networks to integers: equality with the float network, the host layer to the bit, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import emulator as em
from firstspike import models, nn
from firstspike.emulator import profile
from firstspike.emulator.quantization import scales

from ..nets import RESIDUAL, SPECS, WITHOUT_CURRENT, images, local_times, net, wide


@pytest.mark.parametrize("spec", [*SPECS, *RESIDUAL])
@pytest.mark.parametrize("encoder", ["direct", "latency"])
@pytest.mark.parametrize(
    ("readout", "decay", "delay", "learn"),
    [
        ("membrane", 1.0, 0, False),
        ("membrane-mean", 0.75, 0, False),
        ("membrane-weighted", 1.0, 1, True),
        ("twd-exp", 0.75, 0, False),
        ("first-spike", 1.0, 1, True),
        ("first-spike", 1.0, 0, False),
    ],
)
def test_wide_integers_are_the_float_network(spec, encoder, readout, decay, delay, learn):
    """Times of every layer and the readout's membrane, but for samples with a tie (at most 2 of 40)."""
    model = net(spec, encoder=encoder, readout=readout, decay=decay, population=2, learn_threshold=learn)
    if learn:
        with torch.no_grad():
            for layer in model.modules():
                if isinstance(layer, nn.FiringLayer):
                    layer.threshold.copy_(torch.linspace(0.7, 1.4, len(layer.threshold)))
    x = images(model)
    program = em.quantize(model, wide().replace(axon_delay=delay), observer="max", first_layer="float")
    raw = program.engine().run(program.input_times(x), all_times=True)
    with torch.no_grad():
        seen = model.observe(x)
        scores = model(x)
    hidden = seen.layers[1:] if encoder == "direct" else seen.layers
    equal = torch.ones(len(x), dtype=torch.bool)
    for ours, expected in zip(local_times(program, raw.times, len(x)), hidden, strict=True):
        equal &= (ours.reshape(expected.shape) == expected.times).flatten(1).all(1)
    assert equal.sum() >= len(x) - 2  # float32 rounding at a tie; a wrong observer differs everywhere
    if seen.membrane is not None:
        last = program.layers[-1]
        mine = raw.membrane[-1][:, last.start : last.stop] * (last.scale / last.pool**2)
        np.testing.assert_allclose(mine[equal], seen.membrane.permute(1, 0, 2).numpy()[equal], atol=2e-5)
    agree = torch.from_numpy(em.run(program, x).predictions) == scores.argmax(1)
    assert agree[equal].float().mean() > 0.97


@pytest.mark.parametrize(("leak", "decay", "synaptic_decay"), [("scale", 0.75, 0.5), ("scale", 1.0, 1.0), ("shift", 0.75, 0.5)])
def test_wide_currents_are_the_float_network(leak, decay, synaptic_decay):
    options = {"decay": decay, "synaptic_decay": synaptic_decay, "bias": False, "affine": "channel"}
    model = net(encoder="latency", **options)
    x = images(model)
    program = em.quantize(model, wide().replace(current=True, leak=leak, accumulator_bits=46, membrane_bits=46), observer="max")
    raw, seen = program.engine().run(program.input_times(x), all_times=True), model.observe(x)
    for ours, expected in zip(local_times(program, raw.times, len(x)), seen.layers, strict=True):
        assert 0.05 < expected.silent.float().mean() < 0.95
        assert (ours.reshape(expected.shape) == expected.times).float().mean() > 0.998


@pytest.mark.parametrize("name", WITHOUT_CURRENT)
@pytest.mark.parametrize("bits", [None, 4, 2])
def test_integers_stay_in_their_widths(name, bits):
    p = profile.load(name)
    model = net(bias=False, affine="channel")
    program = em.quantize(model, name, bits=min(bits or p.weight_bits, p.weight_bits))
    low, high = scales.weight_limits(min(bits or p.weight_bits, p.weight_bits))
    for layer in program.layers:
        codes = layer.weight.astype(int)
        assert (codes % p.weight_step == 0).all()
        assert low <= (codes // p.weight_step).min() and (codes // p.weight_step).max() <= high
        if layer.fires:
            assert (layer.theta % (1 << p.threshold_shift) == 0).all()
            assert layer.theta.max() <= scales.largest_theta(p)
        if p.thresholds == "layer":
            assert len(np.unique(layer.theta)) == 1
    assert program.layers[0].start == p.axon_delay and program.total_steps == model.steps + len(program.layers) * p.axon_delay


@pytest.mark.parametrize("values", ["signed", "unsigned"])
def test_calibration_keeps_the_readout_inside_its_register(values):
    model = net("30-20-5", encoder="latency", bias=False, normalization=values == "signed")
    p = profile.load("generic8").replace(membrane_bits=6, membrane_values=values, threshold_bits=5)
    if values == "unsigned":
        model.layers[-1].weight.data.abs_()
    x = images(model, 200)
    loose, tight = (em.run(em.quantize(model, p, calibration=c), x) for c in (None, x))
    assert loose.count("membrane_overflows")[:, -1].any() and not tight.count("membrane_overflows")[:, -1].any()


@pytest.mark.parametrize(
    ("options", "name", "layer", "problem"),
    [
        ({}, "odin-like", "1:TTFSConv2d", "biases"),
        ({"bias": False, "decay": 0.9}, "odin-like", "1:TTFSConv2d", "leak"),
        ({"decay": 0.99999}, "generic8", "1:TTFSConv2d", "decay"),
        ({"decay": 1.5, "bias": False}, "generic8", "1:TTFSConv2d", "decay"),
        ({"pooling": "max"}, "generic8", "1:MaxPool2d", "cores"),
        ({"pooling": "earliest"}, "generic8", "1:EarliestPool2d", "cores"),
        ({"synaptic_decay": 0.5}, "odin-like", "1:TTFSConv2d", "synaptic current"),
        ({"synaptic_decay": 0.5, "encoder": "latency"}, "loihi-like", "0:TTFSConv2d", "biases enter the current"),
        ({"decay": 0.9, "synaptic_decay": 0.5, "bias": False}, "xylo-like", "1:TTFSConv2d", "no decay 0.9"),
        ({"decay": 0.5, "bias": False}, "xylo-like", "1:TTFSConv2d", "no synaptic_decay 0"),
        ({"steps": 100}, "loihi-like", "net", "100 steps"),
        ({"steps": 254}, "loihi-like", "net", "254 steps"),
    ],
)
def test_refusals_name_layer_problem_and_remedy(options, name, layer, problem):
    model = net(**options)
    with pytest.raises(em.CannotQuantize, match=problem) as caught:
        em.quantize(model, name)
    error = caught.value
    assert error.layer == layer and problem in error.problem and error.remedy in str(error)
    (first, *_) = em.check(model, name).findings
    assert (first.layer, first.problem, first.remedy) == (error.layer, error.problem, error.remedy)


def test_a_bias_that_needs_more_bits_is_refused():
    model = net()
    with torch.no_grad():
        model.layers[1].bias.fill_(1e6)
    with pytest.raises(em.CannotQuantize, match=r"needs \d+ bits, profile loihi-like has 13") as caught:
        em.quantize(model, "loihi-like")
    needed = int(caught.value.remedy.rpartition("set bias_bits = ")[2].split()[0])
    own = profile.load("loihi-like").replace(bias_bits=needed)
    assert all((layer.bias % 64 == 0).all() for layer in em.quantize(model, own).layers)  # the grid of weights
    with pytest.raises(em.CannotQuantize, match=f"has {needed - 1}"):
        em.quantize(model, own.replace(bias_bits=needed - 1))


def test_a_membrane_that_holds_no_threshold_is_refused():
    narrow = profile.load("loihi-like").replace(membrane_bits=6, threshold_bits=4)
    with pytest.raises(em.CannotQuantize, match="hold no threshold of one weight") as caught:
        em.quantize(net(), narrow)
    assert caught.value.layer == "0:DirectConv2d"


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8, 8), (1, 28, 28)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_host_encoder_is_the_trained_layer(shape, bias):
    """One function computes the current of both, for images in either format."""
    draw = torch.Generator().manual_seed(3)
    model = models.build("16C3-AP2-5", input_shape=shape, steps=8, bias=bias, generator=draw).eval()
    program = em.quantize(model, "generic8", first_layer="float")
    x = torch.rand((64, *shape), generator=draw)
    for data in (x, x.contiguous(memory_format=torch.channels_last)):
        with torch.no_grad():
            assert torch.equal(model.layers[0](data).times, program.encoder.spikes(data, 8).times)
