"""What every kind of program can do: run as the golden model, in C and in closed form, from a file, and answer every question."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

import firstspike
from firstspike import emulator as em
from firstspike import models, nn
from firstspike._base.records import Record
from firstspike.emulator.program import pixels, serialization

from ..emulator import golden, golden_windowed
from ..emulator.export.test_exporting import compiled, needs_compiler

SHAPE = (2, 8, 8)
LATENCY = {"encoder": "latency", "bias": False}
NETS = {  # by kind of program: spec, settings, chip
    "linear": ("128-20-5", LATENCY, "generic8"),
    "convolution": ("4C3-AP2-6C3s2-5", LATENCY, "loihi-like"),
    "residual": ("4C3-R(4C3-6C3s2)-AP2-10-5", LATENCY, "generic8"),
    "pixels": ("5C3-AP2-6C3-5", {"bias": True}, "generic8"),
    "float first layer": ("5C3-AP2-6C3-5", {"bias": True}, "generic8"),
    "leaks": ("4C3-AP2-10-5", LATENCY | {"decay": 0.75}, "generic8"),
    "currents": ("4C3-AP2-10-5", LATENCY | {"decay": 0.9, "synaptic_decay": 0.5}, "loihi-like"),
    "leaks by shift": ("128-20-5", LATENCY | {"decay": 0.5, "synaptic_decay": 0.75}, "xylo-like"),
    "events": ("128-20-5", LATENCY, "odin-like"),
    "first spike": ("128-20-5", LATENCY | {"readout": "first-spike"}, "generic8"),
    "temporal weighting": ("128-20-5", LATENCY | {"readout": "twd-exp"}, "generic8"),
    "membrane mean": ("128-20-5", LATENCY | {"readout": "membrane-mean"}, "generic8"),
    "membrane weighted": ("128-20-5", LATENCY | {"readout": "membrane-weighted"}, "loihi-like"),
    "windowed linear": ("128-20-5", {"timing": "windowed"}, "generic8"),
    "windowed convolution": ("4C3-AP2-6C3s2-5", {"timing": "windowed"}, "loihi-like"),
    "windowed pools": ("4C3-MP2-6C3-AP2-5", {"timing": "windowed"}, "generic8"),
    "windowed single-spike pools": ("4C3-SP2-6C3-SP1x2-5", {"timing": "windowed"}, "generic8"),
    "windowed residual": ("4C3-R(6C3s2-6C3)-R(6C3)-5", {"timing": "windowed"}, "generic8"),
}
KINDS = [*NETS, "windowed grouped"]
of_each_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def net_of(kind):
    draw = torch.Generator().manual_seed(0)
    if kind == "windowed grouped":
        torch.manual_seed(0)
        layers = [torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 8, 3, groups=2), torch.nn.ReLU()]
        layers += [torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5)]
        return firstspike.convert(torch.nn.Sequential(*layers).eval(), images() / 255, steps=9)
    spec, settings, _ = NETS[kind]
    net = models.build(spec, input_shape=SHAPE, steps=6, generator=draw, **settings).eval()
    if kind == "windowed linear":
        net.encoder = nn.WindowedEncoder(20)
    return net


@functools.cache
def program_of(kind):
    chip = "generic8" if kind == "windowed grouped" else NETS[kind][2]
    how = "float" if kind == "float first layer" else "integers"
    return em.quantize(net_of(kind), chip, first_layer=how, name=kind, calibration=images())


def images():
    return torch.randint(0, 256, (6, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def golden_run(program, times):
    """Per layer (times, membranes, counters) of all samples, of the model in NumPy."""
    if program.timing == "windowed":
        return golden_windowed.step_by_step(program, times)
    samples = [golden.run(program.layers, program.total_steps, sample) for sample in times]
    for n in range(len(program.layers)):
        yield tuple(np.stack(x) for x in zip(*((s.times[n], s.membrane[n], s.counters[n]) for s in samples), strict=True))


@of_each_kind
def test_run_is_the_golden_model(kind):
    program = program_of(kind)
    ran = em.run(program, images(), trace=6)
    times = ran.trace["input_times"]
    if program.pixels is not None:
        expected = [golden.pixel_times(program.pixels, sample) for sample in pixels.bytes_of(program.pixels, images())]
        np.testing.assert_array_equal(times, expected)
    for n, (fired, membrane, counters) in enumerate(golden_run(program, times)):
        np.testing.assert_array_equal(ran.trace[f"times.{n}"], fired)
        np.testing.assert_array_equal(ran.trace[f"membrane.{n}"], membrane)
        np.testing.assert_array_equal(ran.counters[:, n], counters)


@of_each_kind
def test_the_closed_form_is_the_run(kind):
    program = program_of(kind)
    if program.timing == "step":
        with pytest.raises(TypeError, match="program"):
            em.IntegerNet(program)
        return
    np.testing.assert_array_equal(em.IntegerNet(program)(images()).numpy(), em.run(program, images()).scores)


@needs_compiler
@of_each_kind
def test_the_exported_c_is_the_run(kind, tmp_path):
    program = program_of(kind)
    em.export_c(program, tmp_path, samples=images(), without_first_layer=kind == "float first layer")
    status, text = compiled(tmp_path)
    assert status == 0 and "equal to the emulator: 6 of 6 samples" in text, text


@of_each_kind
def test_a_file_keeps_it(kind, tmp_path):
    program = program_of(kind)
    again = em.load(em.save(program, tmp_path / "net.program"))
    assert again.has_synapses_of(program) and serialization.dumps(again) == serialization.dumps(program)
    mine, other = em.run(program, images()), em.run(again, images())
    np.testing.assert_array_equal(mine.scores, other.scores)
    np.testing.assert_array_equal(mine.counters, other.counters)


def public(thing):
    """The names that the package gives a thing, without those of pydantic."""
    known = dir(Record) if isinstance(thing, Record) else ()
    return [name for name in dir(type(thing)) if not name.startswith("_") and name not in known]


@of_each_kind
def test_every_public_member_answers(kind):
    program = program_of(kind)
    ran = em.run(program, images(), labels=torch.arange(6) % 5, trace=2)
    placed = em.place(program)
    things = [program, program.engine(), program.encoder, program.readout, ran, placed, em.report(ran, placement=placed)]
    for layer in (*program.layers, *([program.pixels] if program.pixels else [])):
        things += [layer, layer.neuron, *layer.inputs]
    for thing in things:
        for name in public(thing):
            getattr(thing, name)
    assert len(program.engine().widths) == len(program.layers)
    assert all(layer.overflow_free().keys() == {"accumulator", "membrane"} for layer in program.layers)
    assert program.updated_steps(ran.steps_run).shape[1] in (1, len(program.layers))


@of_each_kind
def test_it_is_checked_placed_and_reported(kind, tmp_path):
    program = program_of(kind)
    assert em.check(net_of(kind), program.profile).fits
    ran = em.run(program, images(), labels=torch.arange(6) % 5)
    made = em.report(ran, placement=em.place(program), float_predictions=ran.predictions)
    assert made.summary()["fits"] and made.text() and made.to_json() and made.write_html(tmp_path / "report.html").exists()
    assert sum(made.layers()["neurons"]) > 0 and repr(program) and repr(ran)


@of_each_kind
def test_scores_are_near_those_of_the_net(kind):
    """Scores of a membrane are whole numbers; `score_scale` puts them in the unit of the net's outputs."""
    program, net = program_of(kind), net_of(kind)
    if program.readout.kind == "first-spike":
        return
    with torch.no_grad():
        expected = net(images().float() / 255).numpy()
    scores = em.run(program, images()).scores * program.score_scale
    assert 0.8 < (scores * expected).sum() / (expected**2).sum() < 1.2
