"""All refusals of quantising and placing a net come at once, each with a remedy that avoids it."""

from __future__ import annotations

import pytest

from firstspike import emulator as em
from firstspike import models
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


def test_all_limits_of_all_layers_come_at_once():
    chip = profile.load("generic8").replace(max_features=2, max_kernel=3)
    told = em.check(build("4C3-4C5-6C5-10", (1, 12, 12)), chip).findings
    assert [one.problem.partition(":")[0] for one in told] == ["kernel side", "features"] * 2
    assert [one.layer for one in told] == ["1:TTFSConv2d"] * 2 + ["2:TTFSConv2d"] * 2


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


@pytest.mark.parametrize(("values", "bits", "bias"), [("signed", 47, True), ("unsigned", 46, False)])
def test_a_leak_needs_a_membrane_that_its_products_fit(values, bits, bias):
    chip = profile.load("generic8").replace(membrane_bits=bits, membrane_values=values, threshold_bits=bits - 1)
    leaky, wide = build(decay=0.9, bias=bias), chip.replace(membrane_bits=bits + 1)
    assert em.check(leaky, chip).fits and em.quantize(leaky, chip).engine() and em.check(build(bias=bias), wide).fits
    assert any("decay 0.9 needs a membrane" in text for text, _ in found(leaky, wide))
    with pytest.raises(em.CannotQuantize, match="decay"):
        em.quantize(leaky, wide)
