"""From float networks to integers: scales and thresholds by hand, equality with the float network, refusals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from firstspike import emulator as em
from firstspike import models
from firstspike.emulator.program import profile
from firstspike.emulator.program.engine import Engine
from firstspike.emulator.program.inputs import input_times
from firstspike.emulator.quantization import scales

from ..nets import SPECS, images, net, wide


def test_round_weights_half_to_even_and_clips():
    w = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 7.4, 7.6, -8.4, -9.0])
    assert scales.round_weights(w, 1.0, 4).tolist() == [0, 2, 2, 0, -2, 7, 7, -8, -8]
    assert scales.round_weights(w, 1.0, 4, step=2).tolist() == [
        0,
        2,
        2,
        0,
        -2,
        8,
        8,
        -8,
        -8,
    ]  # 0.25 -> 0, 0.75 -> 1, 1.25 -> 1, 3.7 -> 4


@pytest.mark.parametrize(
    ("threshold", "unit", "pool", "name", "expected"),
    [
        (1.0, 0.1, 1, "generic8", 10),  # the double 0.1 is a little more than 1/10, so 1 / 0.1 is a little less than 10
        (1.0, 0.25, 1, "generic8", 4),
        (1.0, 0.3, 1, "generic8", 4),
        (1.0, 0.25, 2, "generic8", 16),
        (1.0, 0.25, 1, "loihi-like", 3 * 64),
        (1.0, 0.3, 1, "loihi-like", 3 * 64),
        (1.0, 2.0, 1, "generic8", 1),
        (1.0, 2.0, 1, "loihi-like", 0),
    ],
)
def test_theta_by_hand(threshold, unit, pool, name, expected):
    assert scales.theta_integer(threshold, unit, pool, profile.load(name)) == expected


@given(
    st.floats(1e-3, 10),
    st.floats(1e-4, 3),
    st.integers(1, 3),
    st.integers(-50, 4000),
    st.sampled_from(["generic8", "loihi-like", "odin-like"]),
)
def test_theta_is_passed_exactly_where_the_rounded_sum_reaches_the_threshold(threshold, unit, pool, total, name):
    p = profile.load(name)
    theta = scales.theta_integer(threshold, unit, pool, p)
    v = total << p.weight_shift
    passes = v >= theta if p.fire == "ge" else v > theta
    assert passes == (Fraction(total) * Fraction(unit) >= Fraction(threshold) * pool * pool)


@given(st.floats(1e-3, 100), st.integers(1, 4), st.sampled_from(["generic8", "loihi-like", "odin-like", "speck-like"]))
def test_finest_unit_just_fits(threshold, pool, name):
    p = profile.load(name)
    unit = scales.finest_scale(threshold, pool, p)
    assert scales.theta_integer(threshold, unit, pool, p) <= scales.largest_theta(p)
    assert scales.theta_integer(threshold, unit * 0.999, pool, p) > scales.largest_theta(p)


@pytest.mark.parametrize("observer", scales.OBSERVERS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_units(observer, bits):
    w = np.random.default_rng(0).normal(size=(5, 40))
    w[2] = 0
    unit = scales.choose_scale(w, bits, 1, observer)
    assert unit.shape == (5,) and (unit > 0).all()
    full = scales.choose_scale(w, bits, 1, "max")
    error = [((scales.round_weights(w, u[:, None], bits) * u[:, None] - w) ** 2).sum(1) for u in (unit, full)]
    assert (error[0] <= error[1] + 1e-12).all()


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("encoder", ["direct", "latency"])
@pytest.mark.parametrize("readout", ["membrane", "membrane-mean", "membrane-weighted", "twd-exp", "first-spike"])
@pytest.mark.parametrize("decay", [1.0, 0.75])
def test_wide_integers_are_the_float_network(spec, encoder, readout, decay):
    """Times of every layer and the readout's membrane, but for samples with a tie (at most 2 of 40)."""
    model = net(spec, encoder=encoder, readout=readout, decay=decay, population=2)
    x = images(model)
    program = em.quantize(model, wide(), observer="max")
    raw = program.engine().run(input_times(program, x), all_times=True)
    with torch.no_grad():
        seen = model.observe(x)
        scores = model(x)
    hidden = seen.layers[1:] if encoder == "direct" else seen.layers
    equal = torch.ones(len(x), dtype=torch.bool)
    for layer, expected, times in zip(program.layers, hidden, raw.times, strict=False):
        ours = torch.from_numpy(times.reshape(len(x), *layer.out_shape)).permute(0, 3, 1, 2).reshape(expected.shape)
        equal &= (ours == expected.times).flatten(1).all(1)
    assert equal.sum() >= len(x) - 2  # float32 rounding at a tie; a wrong observer differs everywhere
    if seen.membrane is not None:
        last = program.layers[-1]
        mine = raw.membrane[-1][:, last.start : last.stop] * (last.scale / last.pool**2)
        np.testing.assert_allclose(mine[equal], seen.membrane.permute(1, 0, 2).numpy()[equal], atol=2e-5)
    ran = em.run(program, x)
    agree = torch.from_numpy(ran.predictions) == scores.argmax(1)
    assert agree[equal].float().mean() > 0.97


@pytest.mark.parametrize("name", profile.names())
@pytest.mark.parametrize("bits", [None, 4, 2])
def test_integers_stay_in_their_widths(name, bits):
    p = profile.load(name)
    model = net(bias=False, affine="channel")
    program = em.quantize(model, name, bits=min(bits or p.weight_bits, p.weight_bits))
    low, high = (
        scales.weight_limits(bits or p.weight_bits)
        if (bits or 99) <= p.weight_bits
        else scales.weight_limits(p.weight_bits)
    )
    for layer in program.layers:
        codes = layer.weight.astype(int)
        assert (codes % p.weight_step == 0).all()
        assert low <= (codes // p.weight_step).min() and (codes // p.weight_step).max() <= high
        if layer.fires:
            assert (layer.theta % (1 << p.threshold_shift) == 0).all()
            assert layer.theta.max() <= scales.largest_theta(p)
        if p.thresholds == "layer":
            assert len(np.unique(layer.theta)) == 1
    assert (
        program.layers[0].start == p.axon_delay
        and program.total_steps == model.steps + len(program.layers) * p.axon_delay
    )


def test_threshold_width_makes_the_unit_coarser():
    narrow = profile.load("generic8").replace(threshold_bits=4)
    program = em.quantize(net(bias=False), narrow)
    assert all(row["scale_set_by_threshold"] for row in program.table[:-1])
    assert max(layer.theta.max() for layer in program.layers) <= 15


def test_calibration_keeps_the_readout_inside_its_register():
    model = net("30-20-5", encoder="latency", bias=False)
    p = profile.load("odin-like").replace(membrane_bits=5)
    x = images(model, 200)
    loose, tight = em.quantize(model, p), em.quantize(model, p, calibration=x)
    assert em.run(loose, x).count("membrane_overflows")[:, -1].sum() > 0
    assert em.run(tight, x).count("membrane_overflows")[:, -1].sum() == 0
    with pytest.raises(ValueError, match="calibration must have at least one sample"):
        em.quantize(model, p, calibration=x[:0])


def test_calibration_of_an_unsigned_membrane():
    model, p = net("30-20-5", encoder="latency", bias=False, normalization=False), profile.load("generic8")
    with torch.no_grad():
        model.layers[-1].weight.abs_()
    p, x = p.replace(membrane_bits=6, membrane_values="unsigned"), images(model, 200)
    loose, tight = (em.run(em.quantize(model, p, calibration=c), x) for c in (None, x))
    assert loose.count("membrane_overflows")[:, -1].any() and not tight.count("membrane_overflows")[:, -1].any()


def test_biases_are_on_the_weights_grid():
    program = em.quantize(net(), "loihi-like")
    for layer in program.layers:
        assert layer.bias.any() and (layer.bias % 64 == 0).all()


@pytest.mark.parametrize(
    ("options", "name", "text"),
    [
        ({}, "odin-like", "layer 1:TTFSConv2d: it has biases, profile odin-like has none"),
        ({}, "speck-like", "layer 1:TTFSConv2d: it has biases, profile speck-like is not known to have any"),
        ({"bias": False, "decay": 0.9}, "odin-like", "layer 1:TTFSConv2d: decay 0.9 needs a leak"),
        ({"decay": 0.99999}, "generic8", "decay 0.99999 is not representable in 12 bits"),
        ({"pooling": "max"}, "generic8", "layer 1:MaxPool2d: only linear"),
        ({"pooling": "earliest"}, "generic8", "layer 1:EarliestPool2d: only linear"),
        ({"steps": 100}, "loihi-like", "a refractory period of 100 steps, available 63"),
    ],
)
def test_refusals_name_layer_and_reason(options, name, text):
    with pytest.raises(em.CannotQuantize, match=text):
        em.quantize(net(**options), name)


def test_refuses_nan_infinity_and_large_biases():
    for value in (float("nan"), float("inf")):
        model = net(normalization=False)
        with torch.no_grad():
            model.layers[1].weight[0, 0, 0, 0] = value
        with pytest.raises(em.CannotQuantize, match="layer 1:TTFSConv2d: its weight holds NaN or infinity"):
            em.quantize(model, "generic8")
    model = net()
    with torch.no_grad():
        model.layers[1].bias[0] = 1e6
    with pytest.raises(
        em.CannotQuantize, match=r"a bias of \d+ times the scale needs \d+ bits, profile loihi-like has 13"
    ) as caught:
        em.quantize(model, "loihi-like")
    needed = int(str(caught.value).rpartition("set bias_bits = ")[2])
    own = profile.load("loihi-like").replace(bias_bits=needed)
    em.quantize(model, own)
    with pytest.raises(em.CannotQuantize, match=f"has {needed - 1}"):
        em.quantize(model, own.replace(bias_bits=needed - 1))


@pytest.mark.parametrize("remedy", [{"bits": 4}, {"granularity": "tensor"}])
def test_what_the_refusal_of_a_large_bias_advises_helps(remedy):
    model = net()
    with torch.no_grad():
        model.layers[1].weight[0] *= 0.05  # a channel of small weights has a fine scale
        model.layers[1].bias.fill_(2.0)
    own = profile.load("generic8").replace(bias_bits=12)
    with pytest.raises(em.CannotQuantize, match="take a coarser scale"):
        em.quantize(model, own)
    em.quantize(model, own, **remedy)


def test_one_sign_a_source():
    p = profile.load("generic8").replace(weight_sign="source")
    model = net("30-20-5", normalization=False, encoder="latency")
    with pytest.raises(em.CannotQuantize, match="weights of both signs"):
        em.quantize(model, p)
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.abs_()
    assert (em.quantize(model, p).layers[0].weight >= 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"bits": 9}, ValueError, "bits must be an int from 2 to 8"),
        ({"bits": 1}, ValueError, "bits"),
        ({"observer": "best"}, ValueError, "observer"),
        ({"granularity": "row"}, ValueError, "granularity"),
        ({"biases": "keep"}, ValueError, "biases"),
        ({"profile": "loihi"}, ValueError, "profile must be one of"),
    ],
)
def test_bad_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        em.quantize(net(), **arguments)
    with pytest.raises(TypeError, match="model must be a TTFSNet"):
        em.quantize(torch.nn.Linear(2, 2))


def test_pooling_by_theta_is_an_exact_average():
    """A pooled net and the same net whose pool is in the matrix: equal times. Weights are multiples of 1/16, so no
    sum is near 0.97."""
    model = models.build(
        "3C3-AP2-4C3-AP2-5",
        input_shape=(1, 8, 8),
        steps=5,
        encoder="latency",
        normalization=False,
        bias=False,
        threshold=0.97,
        generator=torch.Generator().manual_seed(3),
    )
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.copy_((layer.weight * 16).round() / 16)
    program = em.quantize(model, wide(), observer="max")
    x = images(model)
    times = program.engine().run(input_times(program, x), all_times=True).times
    with torch.no_grad():
        expected = model.observe(x).layers
    for layer, mine, theirs in zip(program.layers, times, expected, strict=False):
        ours = torch.from_numpy(mine.reshape(len(x), *layer.out_shape)).permute(0, 3, 1, 2)
        assert torch.equal(ours, theirs.times)


def test_core_accepts_every_program():
    for name in profile.names():
        program = em.quantize(net(bias=False), name)
        assert isinstance(program.engine(), Engine)


def test_a_membrane_that_grows_is_refused():
    model = models.build("8-6-5", input_shape=(8,), steps=4, decay=1.5, bias=False)
    with pytest.raises(em.CannotQuantize, match=r"layer 1:Integrate: decay 1\.5 makes the membrane grow"):
        em.quantize(model)
    assert "decay 1.5 makes the membrane grow, the cores' cannot" in em.check(model, "generic8").text()
