"""What a chip will refuse is said before training, and the remedy that is named avoids it."""

from __future__ import annotations

import pytest

from firstspike import emulator as em
from firstspike import models, nn
from firstspike.emulator.program import profile

from ..nets import net


def build(spec="64-32-10", shape=(64,), **options):
    return models.build(spec, input_shape=shape, steps=options.pop("steps", 8), **options)


def found(model, name):
    return [(f.problem, f.remedy) for f in em.check(model, name).findings]


@pytest.mark.parametrize(
    ("options", "name", "problem", "remedy"),
    [
        ({}, "odin-like", "it has biases, the chip has none", {"bias": False}),
        ({}, "speck-like", "it has biases, the chip is not known to have any", {"bias": False}),
        ({"bias": False, "decay": 0.9}, "odin-like", "decay 0.9 needs a leak, the chip has none", {"decay": 1.0}),
        ({"steps": 100}, "loihi-like", "refractory period of 100 steps, 63 are available", {"steps": 63}),
        (
            {"spec": "4C3-P2-10", "shape": (1, 8, 8), "bias": False, "pooling": "max"},
            "generic8",
            "MaxPool2d cannot run on the cores",
            {"pooling": "avg"},
        ),
    ],
)
def test_what_a_chip_lacks_and_the_setting_that_avoids_it(options, name, problem, remedy):
    options = {"spec": "64-32-10", **options}
    if "P2" in options["spec"]:
        options["spec"] = options["spec"].replace("P2", "AP2")
    told = found(build(**options), name)
    assert any(problem in text for text, _ in told), told
    for key, value in remedy.items():
        text = (
            f"{value!r}".lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else f"{value}"
        )
        assert any(f"set {key} = {text}" in advice for _, advice in told), told
    assert not any(problem in text for text, _ in found(build(**{**options, **remedy}), name))


@pytest.mark.parametrize(
    ("spec", "shape", "name", "problem", "remedy"),
    [
        ("64-300-20-10", (64,), "odin-like", "axons in for one neuron: 300 are needed, 256", "layer before it smaller"),
        ("64-32-300-10", (64,), "odin-like", "neurons used up", "make the layers smaller"),
        ("4C3-4C17-10", (1, 32, 32), "speck-like", "kernel side: 17 are needed, 16 are available", "smaller kernels"),
        ("4C3-AP3-4C3-10", (1, 32, 32), "speck-like", "pool: 3 are needed, 1 or 2 or 4", "pool that the chip has"),
        ("400-400-400-10", (400,), "speck-like", "kernel entries", "fewer inputs or channels"),
        ("8-8-8-8-8-8-8-8-8-8-8-8-8", (8,), "speck-like", "a core of its own", "fewer layers"),
    ],
)
def test_what_the_cores_cannot_hold(spec, shape, name, problem, remedy):
    told = found(build(spec, shape, bias=False), name)
    assert any(problem in text and remedy in advice for text, advice in told), told


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


def test_the_net_is_left_alone():
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    em.check(model, "odin-like")
    assert all((value == model.state_dict()[key]).all() for key, value in before.items())


def test_a_net_of_the_host_alone():
    assert "its only layer runs on the host" in em.check(build("64-10", readout="first-spike"), "generic8").text()


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ([nn.TTFSLinear(64, 32, steps=8), nn.Integrate(30, 10, steps=8)], "takes 30 inputs, the layer before gives 32"),
        ([nn.TTFSConv2d(1, 4, 3, steps=8), nn.TTFSConv2d(3, 4, 3, steps=8), nn.Integrate(16, 10, steps=8)],
         "takes 3 input channels, the layer before gives 4"),
        ([nn.TTFSConv2d(1, 4, 9, steps=8), nn.Integrate(16, 10, steps=8)], "takes 16 inputs, the layer before gives 0"),
    ],
)  # fmt: skip
def test_a_net_that_runs_nowhere_is_no_limit_of_a_chip(layers, problem):
    shape = (64,) if isinstance(layers[0], nn.TTFSLinear) else (1, 8, 8)
    model = models.TTFSNet(layers, encoder="spikes", readout="membrane", input_shape=shape)
    for call in (em.check, em.quantize):
        with pytest.raises(ValueError, match=f"model: its layer .* {problem}"):
            call(model)


def test_a_net_that_was_prepared_for_another_chip_is_a_finding():
    for bits, problem in ((4, "profile must round as the one of qat.prepare"), (8, "bits must be an int from 2 to")):
        prepared = em.qat.prepare(build("64-32-10", bias=False), "generic8", bits=bits)
        ((told, remedy),) = found(prepared, "odin-like")
        assert problem in told and remedy == "call qat.prepare with this profile"
        assert em.check(prepared, "generic8").fits


def test_wrong_arguments():
    with pytest.raises(TypeError, match="model must be a TTFSNet, or a Sequential of our layers, got str"):
        em.check("64-10")
    with pytest.raises(ValueError, match="profile must be one of"):
        em.check(net(), "tpu")


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
        ("4C3-AP2-10", {"max_fan_in": 4 * 12 * 12 - 1}, "fan-in of a neuron: 576 are needed, 575"),
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


@pytest.mark.parametrize(
    ("decay", "changes", "problem"),
    [
        (0.99999, {}, "decay 0.99999 is not representable in 12 bits"),
        (1.0, {"weight_sign": "source"}, "a source must have weights of one sign"),
    ],
)
def test_what_a_layer_lacks_does_not_hide_a_core_that_is_too_small(decay, changes, problem):
    model = build("64-32-16-10", decay=decay)
    chip = profile.load("generic8").replace(**changes)
    assert [text for text, _ in found(model, chip)] == [problem] * 2  # one per layer
    small = chip.replace(cores=(profile.CoreKind(1, neurons=8),))
    (*each, core) = (text for text, _ in found(model, small))
    assert each == [problem] * 2 and "are needed" in core


def test_a_stride_that_speck_has_in_one_direction_only():
    assert not em.check(build("4C3-4C3s3x4-10", (1, 24, 24), bias=False), "speck-like").fits


def test_more_steps_than_a_program_can_have_are_a_finding():
    problems = [problem for problem, _ in found(build(steps=254), "loihi-like")]
    assert any("at most 254 are possible" in problem for problem in problems)
    assert em.check(build(steps=254), "generic8").fits


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


@pytest.mark.parametrize(
    ("bits", "change"),
    [
        (8, {"threshold_bits": 6}),
        (8, {"thresholds": "group", "threshold_groups": 4}),
        (4, {"cores": (profile.CoreKind(1, synapse_bits=5 * (32 * 32 + 32 * 10)),)}),
    ],
    ids=["thresholds that are too large", "groups of thresholds", "fewer bits"],
)
def test_a_prepared_net_is_checked_as_it_will_be_quantised(bits, change):
    chip = profile.load("generic8")
    prepared, chip = em.qat.prepare(build("64-32-32-10", bias=False), chip, bits=bits), chip.replace(**change)
    told = em.check(prepared, chip)
    try:
        placement = em.place(em.quantize(prepared, chip))
    except em.CannotQuantize as error:
        assert [(f.problem, f.remedy) for f in told.findings] == [(str(error), "call qat.prepare with this profile")]
    else:
        assert told.fits and told.cores_used == placement.cores_used


def test_a_kernel_beyond_the_emulators_own_limits_is_a_finding():
    layers = [nn.TTFSConv2d(1, 2, (1, 1100), steps=8), nn.Integrate(202, 3, steps=8)]
    model = models.TTFSNet(layers, encoder="spikes", readout="membrane", input_shape=(1, 1, 1200))
    ((problem, _),) = found(model, "generic8")
    assert "kernel_w must be from 1 to 1024, got 1100" in problem
    with pytest.raises(em.CannotQuantize, match="kernel_w must be from 1 to 1024, got 1100"):
        em.quantize(model)
