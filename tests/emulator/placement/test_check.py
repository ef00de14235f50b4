"""All refusals of quantising and placing a net come at once, each with a remedy that avoids it."""

from __future__ import annotations

import pytest

from firstspike import emulator as em
from firstspike import models, nn
from firstspike.emulator import profile


def build(spec="64-32-10", shape=(64,), **options):
    return models.build(spec, input_shape=shape, steps=options.pop("steps", 8), **options)


def found(model, name):
    return [(f.problem, f.remedy) for f in em.check(model, name).findings]


@pytest.mark.parametrize("name", profile.names())
def test_what_fits_is_what_quantize_and_place_take(name):
    model = build("64-32-10", bias=False)
    checked = em.check(model, name)
    placement = em.place(em.quantize(model.eval(), name))
    assert checked.fits and (checked.cores_used, checked.cores_available) == (
        placement.cores_used,
        placement.available,
    )
    assert checked.text() == f"{name}: fits, {checked.cores_used} of {checked.cores_available} cores\n"


@pytest.mark.parametrize(
    ("options", "changes", "problem"),
    [
        ({"decay": 0.99999}, {}, "decay 0.99999 is not representable in 12 bits"),
        ({}, {"weight_sign": "source"}, "a source has weights of both signs, the profile has one sign per source"),
        ({}, {"bias_bits": 0}, "it has biases, the chip has none"),
    ],
)
def test_one_refusal_does_not_hide_another(options, changes, problem):
    model, chip = build("64-32-16-10", **options), profile.load("generic8").replace(**changes)
    assert [text for text, _ in found(model, chip)] == [problem] * 2  # one per layer
    small = chip.replace(cores=[profile.CoreKind(count=1, neurons=8)])
    (*each, core) = (text for text, _ in found(model, small))
    assert each == [problem] * 2 and core.startswith("cores for its neurons (neurons used up): required 16 neurons")


def test_all_limits_of_all_layers_come_at_once():
    chip = profile.load("generic8").replace(max_features=2, max_kernel=3)
    told = em.check(build("4C3-4C5-6C5-10", (1, 12, 12)), chip).findings
    assert [(one.layer, one.problem.partition(":")[0]) for one in told] == [
        ("1:TTFSConv2d", "kernel side"),
        ("1:TTFSConv2d", "features"),
        ("2:TTFSConv2d", "kernel side"),
        ("2:TTFSConv2d", "features"),
    ]


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ([nn.TTFSLinear(64, 32, steps=8), nn.Integrate(30, 10, steps=8)], "takes 30 inputs, the layer before gives 32"),
        ([nn.TTFSConv2d(1, 4, 3, steps=8), nn.TTFSConv2d(3, 4, 3, steps=8), nn.Integrate(16, 10, steps=8)],
         "takes 3 input channels, the layer before gives 4"),
        ([nn.TTFSConv2d(1, 4, 9, steps=8), nn.Integrate(16, 10, steps=8)], "out_shape"),
    ],
)  # fmt: skip
def test_a_net_that_runs_nowhere_is_no_limit_of_a_chip(layers, problem):
    shape = (64,) if isinstance(layers[0], nn.TTFSLinear) else (1, 8, 8)
    model = models.TTFSNet(layers, encoder="spikes", readout="membrane", input_shape=shape)
    for call in (em.check, em.quantize):
        with pytest.raises(ValueError, match=problem):
            call(model)


@pytest.mark.parametrize(
    ("spec", "change", "resource"),
    [
        ("4C3-4C5-10", {"max_kernel": 3}, "kernel side"),
        ("4C3-4C3-AP3-10", {"pools": (1, 2)}, "pool"),
        ("4C3-4C3-10", {"max_features": 2}, "features"),
        ("4C3-4C5-10", {"max_padding": 1}, "padding"),
        ("4C3-4C3-10", {"max_output_side": 4}, "output side"),
        ("4C3-4C3s3x4-10", {"strides": (1, 4)}, "stride"),
        ("4C3-4C3s4x3-10", {"strides": (1, 4)}, "stride"),
        ("4C3-4C3-R(4C3-4C3)-10", {"max_destinations": 1}, "layers that it feeds"),
        ("4C3-AP2-10", {"max_fan_in": 4 * 12 * 12 - 1}, "fan-in of a neuron: required 576, available 575"),
    ],
)
def test_limits_of_layers_hold_on_all_kinds_of_cores(spec, change, resource):
    model = build(spec, (1, 12, 12))
    chip = profile.load("generic8")
    assert em.check(model, chip).fits
    (finding,) = em.check(model, chip.replace(**change)).findings
    assert finding.problem.startswith(resource)
    with pytest.raises(em.DoesNotFit, match=resource.partition(":")[0]):
        em.place(em.quantize(model, chip.replace(**change)))


def test_a_leak_needs_a_membrane_that_its_products_fit():
    wide, leaky = profile.load("generic8").replace(membrane_bits=60), build(decay=0.9)
    assert em.check(build(), wide).fits and em.check(leaky, wide.replace(membrane_bits=47)).fits
    problem = "decay 0.9 needs a membrane of at most 47 bits with a sign, 46 without; the chip's has 60"
    assert any(problem in text for text, _ in found(leaky, wide))
    with pytest.raises(em.CannotQuantize, match=problem):
        em.quantize(leaky, wide)
    unsigned = wide.replace(membrane_bits=47, membrane_values="unsigned", threshold_bits=46)
    without = build(decay=0.9, bias=False)
    assert any("47 bits with a sign, 46 without; the chip's has 47" in text for text, _ in found(without, unsigned))
    fitting = unsigned.replace(membrane_bits=46, threshold_bits=45)
    assert em.check(without, fitting).fits and em.quantize(without, fitting).engine()


def test_a_kernel_beyond_the_emulators_own_limits_is_a_finding():
    layers = [nn.TTFSConv2d(1, 2, (1, 1100), steps=8), nn.Integrate(202, 3, steps=8)]
    model = models.TTFSNet(layers, encoder="spikes", readout="membrane", input_shape=(1, 1, 1200))
    ((problem, _),) = found(model, "generic8")
    assert "kernel_w must be from 1 to 1024, got 1100" in problem
    with pytest.raises(em.CannotQuantize, match="kernel_w must be from 1 to 1024, got 1100"):
        em.quantize(model)
