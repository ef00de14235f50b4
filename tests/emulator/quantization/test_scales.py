"""Scales and thresholds by hand; weights that integers hold exactly, or that are zero: the chip fires where the net does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import prune

from firstspike import SpikeTimes, models, nn
from firstspike import emulator as em
from firstspike.emulator import profile
from firstspike.emulator.quantization import qat, scales

from ..nets import WITHOUT_CURRENT

STEPS = 8
PLAIN = {"steps": STEPS, "bias": False, "affine": None}


def test_round_weights_half_to_even_and_clips():
    w = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 7.4, 7.6, -8.4, -9.0])
    assert scales.round_weights(w, 1.0, 4).tolist() == [0, 2, 2, 0, -2, 7, 7, -8, -8]
    # 0.25 -> 0, 0.75 -> 1, 1.25 -> 1, 3.7 -> 4
    assert scales.round_weights(w, 1.0, 4, step=2).tolist() == [0, 2, 2, 0, -2, 8, 8, -8, -8]


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


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_mse_has_at_most_the_error_of_max(bits):
    w = np.random.default_rng(0).normal(size=(5, 40))
    w[2] = 0
    found = [scales.choose_scale(w, bits, 1, observer) for observer in ("mse", "max")]
    error = [((scales.round_weights(w, u[:, None], bits) * u[:, None] - w) ** 2).sum(1) for u in found]
    assert all((unit > 0).all() for unit in found) and (error[0] <= error[1] + 1e-12).all()


@pytest.mark.parametrize("observer", scales.OBSERVERS)
def test_weights_on_a_grid_of_a_power_of_two_are_exact(observer):
    weight = np.array([[-3.0, 0.0, 1.0, 2.0], [0.25, 0.5, -1.5, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 0.0]])
    found = scales.choose_scale(weight, 8, 2, observer)
    assert found[:2].tolist() == [2.0**-6, 2.0**-7]
    q = scales.round_weights(weight, found[:, None], 8, step=2)
    assert (q[:2] * found[:2, None] == weight[:2]).all() and np.abs(q).max() <= 254
    assert found[2] == pytest.approx(0.4 / 254, rel=0.9) and found[2] != 2.0**-9
    assert scales.theta_integer(2.0, 2.0**-6, 1, profile.load("generic8")) == 128
    above = float(np.nextafter(np.float32(2), np.float32(3)))  # of a neuron that fires at > 2
    assert scales.theta_integer(above, 2.0**-6, 1, profile.load("generic8")) == 129


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


@pytest.mark.parametrize("name", WITHOUT_CURRENT)
@pytest.mark.parametrize(
    ("weight", "threshold"), [(0.5, 1.0), (1.0, 1.0), (0.3125, 0.3125), (0.6875, 0.6875), (2.0, 2.0), (0.1, 0.3)]
)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("trained", [False, True])
def test_sums_that_meet_the_threshold_exactly(name, weight, threshold, bits, trained):
    chip = profile.load(name)
    if bits > chip.weight_bits:
        pytest.skip("the chip has fewer bits")
    # Events in one step may fire a neuron before others.
    positive = chip.weight_sign == "source" or chip.update == "event"
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
    made = qat.prepare(model, bits=bits, observer=observer) if trained else model
    got, _ = hidden(made, x, "generic8", bits=bits, observer=observer)
    pruned = (first.weight == 0).all(1)
    assert pruned.sum() == 3 and torch.equal(got[:, pruned], model.observe(x).layers[0].times[:, pruned].long())
