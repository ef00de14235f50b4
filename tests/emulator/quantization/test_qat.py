"""Quantisation-aware training: the rounded float network is the integer one, and the original is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import emulator as em
from firstspike.emulator.program.inputs import input_times
from firstspike.emulator.quantization import qat

from ..nets import SPECS, images, net


def tuned(model, x, name, bits):
    made = qat.prepare(model, name, bits=bits)
    labels = model(x).argmax(1)
    return qat.finetune(made, x, labels, epochs=2, batch=20, lr=1e-3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(("name", "bits"), [("generic8", 8), ("generic8", 4), ("generic8", 2), ("loihi-like", 3)])
@pytest.mark.parametrize("readout", ["membrane", "first-spike"])
def test_the_trained_network_is_the_program(spec, name, bits, readout):
    model = net(spec, readout=readout, population=2)
    x = images(model)
    made = tuned(model, x, name, bits)
    program = em.quantize(made, name, bits=bits)
    raw = program.engine().run(input_times(program, x), all_times=True)
    with torch.no_grad():
        seen = made.observe(x)
    for layer, mine, theirs in zip(program.layers, raw.times, seen.layers[1:], strict=False):
        local = (
            np.where(mine == 255, 255, mine - np.uint8(layer.start)).astype(np.uint8).reshape(len(x), *layer.out_shape)
        )
        np.testing.assert_array_equal(local.transpose(0, 3, 1, 2).reshape(theirs.shape), theirs.times.numpy())
    if seen.membrane is not None:
        last = program.layers[-1]
        mine = raw.membrane[-1][:, last.start : last.stop] / (1 << last.shift) * (last.scale / last.pool**2)
        np.testing.assert_allclose(mine, seen.membrane.permute(1, 0, 2).numpy(), rtol=1e-4, atol=1e-4)


def test_training_moves_weights_units_and_biases():
    model = net()
    x = images(model)
    before, after = qat.prepare(model, "generic8", bits=3), tuned(model, x, "generic8", 3)
    moved = [
        name
        for (name, a), (_, b) in zip(before.named_parameters(), after.named_parameters(), strict=True)
        if not torch.equal(a, b)
    ]
    for part in ("weight.original", "log_scale", "bias.original"):
        assert any(part in name for name in moved), part


def test_the_original_is_left_alone():
    model = net()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    x = images(model)
    expected = model(x)
    tuned(model, x, "generic8", 2)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    assert torch.equal(model(x), expected)


def test_biases_stay_at_zero_where_the_profile_has_none():
    model = net()
    x = images(model)
    program = em.quantize(tuned(model, x, "odin-like", 4), "odin-like", bits=4)
    assert all(not layer.bias.any() for layer in program.layers)


def test_fine_tuning_improves_agreement_at_two_bits():
    model = net("30-20-5", encoder="latency", bias=False)
    x = images(model, 400)
    with torch.no_grad():
        answers = model(x).argmax(1)
    plain = em.run(em.quantize(model, "generic8", bits=2), x, labels=answers).accuracy
    made = qat.prepare(model, "generic8", bits=2)
    qat.finetune(made, x, answers, epochs=15, batch=40, lr=2e-3, generator=torch.Generator().manual_seed(0))
    better = em.run(em.quantize(made, "generic8", bits=2), x, labels=answers).accuracy
    assert better > plain


def test_same_seed_same_bits():
    model = net()
    x = images(model)
    a, b = (tuned(model, x, "generic8", 4).state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"bits": 9}, "bits must be"),
        ({"granularity": "row"}, "granularity must be"),
        ({"profile": "x"}, "profile must be"),
    ],
)
def test_bad_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        qat.prepare(net(), **arguments)
    with pytest.raises(ValueError, match="labels must have one element an image"):
        qat.finetune(net(), torch.zeros(3, 2, 8, 8), torch.zeros(2), generator=torch.Generator())
