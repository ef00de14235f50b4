"""Weights that the integers hold exactly, and weights that are all zero: the chip fires where the float net does."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils import prune

from firstspike import SpikeTimes, models, nn
from firstspike import emulator as em
from firstspike.emulator.program import profile
from firstspike.emulator.quantization import qat

STEPS = 8
PLAIN = {"steps": STEPS, "bias": False, "affine": None}


def net(*layers, inputs, readout="membrane-mean"):
    return models.TTFSNet(list(layers), encoder="spikes", readout=readout, input_shape=(inputs,)).eval()


def spikes(count, inputs, steps=STEPS):
    draw = torch.Generator().manual_seed(1)
    times = torch.randint(0, steps + 3, (count, inputs), generator=draw)
    return SpikeTimes(torch.where(times < steps, times, 255).to(torch.uint8), steps)


def hidden(model, x, name, **options):
    """Times of the first layer on the chip, and in the float net."""
    program = em.quantize(model, name, **options)
    ran = em.run(program, x, trace=len(x))
    times = torch.from_numpy(ran.trace["times.0"].astype("int64")).reshape(len(x), -1)
    times = torch.where(times < 255, times - program.layers[0].start, times)  # less the chip's delay
    with torch.no_grad():
        return times, model.observe(x).layers[0].times.long()


@pytest.mark.parametrize("name", profile.names())
@pytest.mark.parametrize(
    ("weight", "threshold"), [(0.5, 1.0), (1.0, 1.0), (0.3125, 0.3125), (0.6875, 0.6875), (2.0, 2.0), (0.1, 0.3)]
)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("trained", [False, True])
def test_sums_that_meet_the_threshold_exactly(name, weight, threshold, bits, trained):
    chip = profile.load(name)
    if bits > chip.weight_bits:
        pytest.skip("the chip has fewer bits")
    positive = (
        chip.weight_sign == "source" or chip.update == "event"
    )  # events in one step may fire a neuron before others
    first = nn.TTFSLinear(24, 12, threshold=threshold, **PLAIN)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        first.weight.copy_(torch.randint(0 if positive else -1, 2, (12, 24), generator=draw) * weight)
    last = nn.Integrate(12, 3, **PLAIN)
    if positive:
        last.weight.data.abs_()
    model, x = net(first, last, inputs=24), spikes(60, 24)
    made = qat.prepare(model, name, bits=bits) if trained else model
    got, _ = hidden(made, x, name, bits=bits)
    _, wanted = hidden(model, x, name, bits=bits)
    if weight == 0.1:  # the sum of three is rounded in float32
        assert (got != wanted).float().mean() < 0.02
    else:
        assert torch.equal(got, wanted)
    assert (wanted < 255).float().mean() > 0.2


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 0.9, 1.0, 1.1, 2.3])
@pytest.mark.parametrize("trained", [False, True])
def test_a_shortcut_as_large_as_the_threshold_fires_its_neuron_alone(threshold, trained):
    inner = nn.TTFSLinear(4, 4, steps=4, bias=False, affine=None, threshold=threshold)
    with torch.no_grad():
        inner.weight.fill_(0)
        inner.weight[0, 0] = 0.01
    model = net(nn.Residual([inner], scale=threshold), nn.Integrate(4, 2, steps=4), inputs=4)
    x = SpikeTimes(torch.tensor([[1, 255, 2, 3]], dtype=torch.uint8), 4)
    got, wanted = hidden(qat.prepare(model) if trained else model, x, "generic8")
    assert torch.equal(got, wanted) and wanted.tolist() == [[1, 255, 2, 3]]


@pytest.mark.parametrize("observer", ["max", "mse"])
@pytest.mark.parametrize("bias", [0.05, 0.3, 0.9, 1.0, 30.0])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("bits", [2, 8])
def test_pruned_neurons_with_a_bias(observer, bias, trained, bits):
    """Their bias alone fires them."""
    first = nn.TTFSLinear(20, 6, steps=STEPS, affine=None, generator=torch.Generator().manual_seed(0))
    first.bias.data.fill_(bias)
    prune.ln_structured(first, "weight", amount=3, n=2, dim=0)
    model = net(first, nn.Integrate(6, 3, **PLAIN), inputs=20)
    x = SpikeTimes(torch.full((2, 20), 255, dtype=torch.uint8), STEPS)
    with pytest.warns(UserWarning, match="pruned") if trained else torch.no_grad():
        made = qat.prepare(model, bits=bits, observer=observer) if trained else model
    got, _ = hidden(made, x, "generic8", bits=bits, observer=observer)
    pruned = (first.weight == 0).all(1)
    assert pruned.sum() == 3 and torch.equal(got[:, pruned], model.observe(x).layers[0].times[:, pruned].long())


def test_a_readout_of_zeros_keeps_its_biases():
    last = nn.Integrate(6, 3, steps=STEPS, affine=None)
    with torch.no_grad():
        last.weight.fill_(0)
        last.bias.copy_(torch.tensor([0.01, 0.03, 0.02]))
    model = net(nn.TTFSLinear(20, 6, **PLAIN), last, inputs=20)
    x = spikes(4, 20)
    assert em.run(em.quantize(model), x).predictions.tolist() == model(x).argmax(1).tolist() == [1] * 4
