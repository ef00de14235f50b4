"""Quantisation-aware training: the rounded float network is the integer one, and the original is left alone."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import torch

from firstspike import emulator as em
from firstspike import encode, models
from firstspike.emulator.program import serialization
from firstspike.emulator.quantization import qat

from ..nets import RESIDUAL, SPECS, images, local_times, net


def tuned(model, x, name, bits):
    made = qat.prepare(model, name, bits=bits)
    labels = model(x).argmax(1)
    return qat.finetune(made, x, labels, epochs=2, batch=20, lr=1e-3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("spec", [*SPECS, *RESIDUAL])
@pytest.mark.parametrize(("name", "bits"), [("generic8", 8), ("generic8", 4), ("generic8", 2), ("loihi-like", 3)])
@pytest.mark.parametrize("readout", ["membrane", "first-spike"])
def test_the_trained_network_is_the_program(spec, name, bits, readout):
    model = net(spec, readout=readout, population=2)
    x = images(model)
    made = tuned(model, x, name, bits)
    program = em.quantize(made, name, bits=bits)
    raw = program.engine().run(program.input_times(x), all_times=True)
    with torch.no_grad():
        seen = made.observe(x)
    for ours, theirs in zip(local_times(program, raw.times, len(x)), seen.layers[1:], strict=True):
        np.testing.assert_array_equal(ours.reshape(theirs.shape).numpy(), theirs.times.numpy())
    if seen.membrane is not None:
        last = program.layers[-1]
        mine = raw.membrane[-1][:, last.start : last.stop] / (1 << last.shift) * (last.scale / last.pool**2)
        np.testing.assert_allclose(mine, seen.membrane.permute(1, 0, 2).numpy(), rtol=1e-4, atol=1e-4)


def test_the_original_is_left_alone_and_one_seed_gives_the_same_bits():
    model = net()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    x = images(model)
    one, other = (tuned(model, x, "generic8", 2).state_dict() for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())


@pytest.mark.parametrize("how", ["state_dict", "pickle"])
def test_a_prepared_net_can_be_saved_and_loaded(how):
    model = net(readout="first-spike")
    x = images(model)
    made = tuned(model, x, "loihi-like", 3)
    if how == "state_dict":
        again = qat.prepare(net(readout="first-spike", seed=1), "loihi-like", bits=3)
        again.load_state_dict(made.state_dict())
    else:
        again = pickle.loads(pickle.dumps(made))
    assert torch.equal(again.eval()(x), made(x))
    first, second = (serialization.dumps(em.quantize(n, "loihi-like")) for n in (made, again))
    assert first == second


def test_a_net_on_spikes_is_tuned_on_spikes():
    """As the net whose encoder makes these spikes of images."""
    coded, bare = (qat.prepare(net("30-20-5", encoder=name), bits=3) for name in ("latency", "spikes"))
    x, labels = images(coded, 50), torch.arange(50) % 5
    spikes = encode.latency(x, coded.steps)
    before = bare.layers[0].weight.clone()
    for made, inputs in ((coded, x), (bare, spikes)):
        qat.finetune(made, inputs, labels, epochs=2, batch=20, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(bare.layers[0].weight, before)
    assert all(torch.equal(*pair) for pair in zip(coded.parameters(), bare.parameters(), strict=True))


@pytest.mark.parametrize(
    ("profile", "settings", "problem"),
    [
        ("loihi-like", {"bits": 3}, "step of weights"),
        ("odin-like", {"bits": 3}, "without biases"),
        ("generic8", {"bits": 4}, "for 3"),
        ("generic8", {"granularity": "tensor"}, "for 'channel'"),
        (em.profile.load("generic8").replace(thresholds="layer"), {}, "granularity"),
        (em.profile.load("generic8").replace(weight_bits=2), {}, "for 3"),
        (em.profile.load("generic8").replace(threshold_bits=2), {}, "no threshold as large"),
    ],
)
def test_a_prepared_net_is_quantised_for_what_it_was_prepared_for(profile, settings, problem):
    made = qat.prepare(net("30-20-5", encoder="latency"), "generic8", bits=3)
    assert em.quantize(made, "generic8").table[0]["bits"] == 3 and em.check(made, "generic8").fits
    with pytest.raises(em.CannotQuantize, match=problem) as caught:
        em.quantize(made, profile, biases="drop", **settings)
    assert "qat.prepare" in caught.value.remedy
    if not settings:
        assert problem in em.check(made, profile).text()


@pytest.mark.parametrize("options", [{"pooling": "max"}, {"decay": 1.5, "bias": False}, {"steps": 100}])
def test_what_the_chip_lacks_is_refused_before_training(options):
    model, errors = net(**options), []
    for make in (qat.prepare, partial(em.quantize, biases="drop")):
        with pytest.raises(em.CannotQuantize) as caught:
            make(model, "loihi-like")
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("timing", ["step", "windowed"])
def test_a_prepared_net_needs_its_bits(timing):
    made = qat.prepare(models.build("30-20-5", input_shape=(30,), steps=6, timing=timing))
    with pytest.raises(em.CannotQuantize, match="bits: 4 for profile generic8, qat.prepare made the net for 8"):
        em.quantize(made, em.profile.load("generic8").replace(weight_bits=4))


@pytest.mark.parametrize("make", [qat.prepare, em.quantize])
@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("layer", [0, 1, -1])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_net_with_nan_or_infinity_is_refused(make, name, layer, value):
    model = net(SPECS[0].replace("-20-", "-20-20-"), encoder="direct")
    getattr(model.layers[layer], name).data.flatten()[0] = value
    with pytest.raises(em.CannotQuantize, match=f"its {name} holds NaN or infinity"):
        make(model)


def test_learned_thresholds_of_the_host_layer_stay_positive():
    model = models.mlp("10-6-6-3", steps=8, learn_threshold=True, generator=torch.Generator().manual_seed(0))
    model.layers[0].theta.data.fill_(1e-3)
    draw = torch.Generator().manual_seed(0)
    x, labels = torch.rand(600, 10, generator=draw), torch.randint(3, (600,), generator=draw)
    made = qat.finetune(qat.prepare(model, bits=4, first_layer="float"), x, labels, epochs=3, batch=32, generator=draw)
    assert (made.layers[0].theta > 0).all()


def test_weights_between_two_integers_round_as_in_the_program():
    made = qat.prepare(models.build("64-32-10", input_shape=(64,), steps=8, encoder="latency"), "generic8")
    layer = made.layers[0]
    scale = layer.quantizer.scale.detach()
    halves = (torch.arange(64) - 32 + 0.5).expand(32, 64).contiguous()
    with torch.no_grad():
        layer.weight.copy_(halves * scale.view(-1, 1))
        layer.weight[::2] = torch.nextafter(layer.weight[::2], torch.tensor(torch.inf))
        layer.bias.copy_((torch.arange(32) + 0.5) * scale)
        weight, bias = layer.effective_weight_and_bias()
        unit = layer.quantizer.value()
    program = em.quantize(made, "generic8").layers[0]
    np.testing.assert_array_equal((weight / unit.view(-1, 1)).round().int().numpy(), program.weight.T)
    np.testing.assert_array_equal((bias / unit).round().int().numpy(), program.bias >> program.shift)
    in_single = (layer.weight.detach() / scale.view(-1, 1)).round().clamp(-128, 127)
    assert (in_single.int().numpy() != program.weight.T).any()  # or this would show nothing
