"""Programs that stop early: the float net, the emulator, IntegerNet and the exported C give the same answers."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, decode, models, nn
from firstspike import emulator as em
from firstspike.emulator.program.program import last_window

from .export.test_exporting import compiled, needs_compiler
from .nets import images, net
from .networks import windowed_programs

MEMBRANES = ("membrane", "membrane-mean", "membrane-weighted")


def windowed(spec="4C3-AP2-R(6C3)-MP2-12-5", steps=8, inputs=20, seed=0):
    draw = torch.Generator().manual_seed(seed)
    made = models.build(spec, input_shape=(2, 8, 8), steps=steps, timing="windowed", pooling="earliest", generator=draw)
    made.encoder = nn.WindowedEncoder(inputs)
    return made.eval()


@pytest.mark.parametrize("chip", ["generic8", "loihi-like"])  # without and with delays
@pytest.mark.parametrize(
    "options", [{"encoder": "direct"}, {"encoder": "latency"}, {"encoder": "direct", "first_layer": "float"}]
)
@pytest.mark.parametrize("readout", [*MEMBRANES, "twd-exp", "first-spike"])
def test_a_stopped_program_is_the_whole_one_until_then(chip, options, readout):
    first_layer = options.get("first_layer", "integers")
    model = net("4C3-AP2-R(4C3-6C3)-12-5", encoder=options["encoder"], readout=readout)
    program, x = em.quantize(model, chip, first_layer=first_layer), images(model)
    whole = program.engine().run(program.input_times(x), all_times=True, trace=True)
    for steps in program.score_steps:
        short = em.stopped(program, after=steps)
        assert short.score_steps == range(1, steps + 1) and short.total_steps == program.total_steps - 6 + steps
        raw = short.engine().run(short.input_times(x), all_times=True, trace=True)
        for n, layer in enumerate(short.layers):
            expected = np.where(whole.times[n] < layer.stop, whole.times[n], 255)
            np.testing.assert_array_equal(raw.times[n], expected)
            span = slice(layer.start, layer.stop)
            np.testing.assert_array_equal(raw.membrane[n][:, span], whole.membrane[n][:, span])
        ran = em.run(program, x, stop_after=steps)
        assert (ran.steps_run == short.total_steps).all() and ran.count("delivered").sum() <= whole.counters[..., 2].sum()
        stopped_net = em.quantize(models.stop_after(model, steps), chip, first_layer=first_layer)
        assert [layer.stop for layer in stopped_net.layers] == [layer.stop for layer in short.layers]


@settings(max_examples=25)
@given(st.data())
def test_programs_of_windows_stop_in_their_last_window(data):
    program, times = data.draw(windowed_programs(exact=True))
    height, width, channels = program.input_shape
    shaped = times if height == width == 1 else times.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    spikes = SpikeTimes(torch.from_numpy(shaped.copy()), program.steps)
    steps = data.draw(st.sampled_from(program.score_steps))
    if last_window(program.layers)[-1] < 0:
        with pytest.raises(ValueError, match="a hidden layer that integrates"):
            em.stopped(program, after=steps)
        return
    short = em.stopped(program, after=steps)
    raw = program.engine().run(times, trace=True, all_times=True)
    ran = em.run(short, spikes)
    np.testing.assert_array_equal(ran.scores, raw.membrane[-1][:, steps - program.score_steps[-1] - 1])
    assert short.steps + short.latency == steps
    if all(all(layer.overflow_free().values()) for layer in program.layers):
        np.testing.assert_array_equal(em.IntegerNet(short)(spikes).numpy(), ran.scores)


def test_the_float_net_stops_with_the_classes_of_the_program():
    """Weights that integers hold exactly, so that the full classes agree as well."""
    for model in (net("30-20-5", encoder="latency", readout="membrane-mean", bias=False), windowed("6C3-AP2-12-5")):
        with torch.no_grad():
            for layer in model.layers:
                if isinstance(layer, nn.Synapses) and model.timing == "step":
                    layer.fold()
                    layer.weight.copy_((layer.weight * 8).round() / 8)
        x = images(model)
        program = em.quantize(model, "generic8")
        every = model.running(x)
        agrees = torch.from_numpy(em.run(program, x).predictions) == every[-1].argmax(1)
        assert agrees.float().mean() > 0.8
        for steps, scores in zip(model.score_steps, every, strict=True):
            mine = torch.from_numpy(em.run(program, x, stop_after=steps).predictions)
            same = mine == scores.argmax(1)
            assert same.float().mean() > (0.8 if model.timing == "windowed" else 0.999), steps


@pytest.mark.parametrize("model", [*(net("30-20-5", encoder="latency", readout=r) for r in MEMBRANES), windowed()])
@pytest.mark.parametrize("share", [0.1, 1.0, 1e6])
def test_a_margin_stops_each_sample_at_its_first_clear_lead(model, share):
    x = images(model)
    program = em.quantize(model, "loihi-like")
    lead = model(x).detach().topk(2).values
    margin = share * float((lead[:, 0] - lead[:, 1]).median())
    ran = em.run(program, x, margin=margin)
    unit = float(program.score_scale.max()) / program.readout.scale(program.layers[-1].steps)
    every = []  # the scores after each step
    for steps in program.score_steps:
        run = em.run(program, x, stop_after=steps)
        every.append(run.scores * run.program.readout.scale(run.program.layers[-1].steps) * unit)
    scores, last = decode.stopped(torch.tensor(np.stack(every), dtype=torch.float32), margin)
    clear = torch.isclose(scores.topk(2).values.diff().abs(), torch.tensor(margin), rtol=0.01).flatten()  # too near to a margin
    delays = program.total_steps - program.score_steps[-1]
    mine = torch.from_numpy(ran.steps_run) - delays - program.score_steps[0] + 1
    assert torch.equal(mine[~clear], last[~clear]) and clear.float().mean() < 0.2
    assert torch.equal(torch.from_numpy(ran.predictions)[~clear], scores.argmax(1)[~clear])
    for steps in np.unique(ran.steps_run):
        at = ran.steps_run == steps
        again = em.run(program, x[torch.from_numpy(at)], stop_after=int(steps) - delays)
        if program.timing == "windowed":
            np.testing.assert_array_equal(ran.counters[at], again.counters)
        else:  # layers before the readout are updated until it decides
            assert (ran.counters[at] >= again.counters).all()
        np.testing.assert_array_equal(ran.predictions[at], again.predictions)
    assert (ran.steps_run.min() == program.total_steps) == (share > 1e3)


@pytest.mark.parametrize("steps", [0, 7])
def test_no_more_steps_than_there_are(steps):
    model = net("30-20-5", encoder="latency", readout="membrane")
    with pytest.raises(ValueError, match=f"after must be from 1 to 6, got {steps}"):
        em.run(em.quantize(model), images(model), stop_after=steps)


def test_a_margin_needs_scores():
    model = net("30-20-5", encoder="latency", readout="first-spike")
    with pytest.raises(ValueError, match="margin needs the scores of a membrane readout"):
        em.run(em.quantize(model), images(model), margin=0.5)


@needs_compiler
@pytest.mark.parametrize(
    ("model", "profile", "after", "margin"),
    [
        (net("4C3-AP2-12-5", readout="membrane", encoder="latency"), "loihi-like", 3, 0.5),  # layers with delays run on
        (windowed("4C3-AP2-R(6C3)-MP2-5", inputs=9), "generic8", 23, 0.125),  # a pool ends with the readout
    ],
)
def test_c_counts_what_ran_before_a_margin(tmp_path, model, profile, after, margin):
    x = images(model, 12)
    short = em.stopped(em.quantize(model, profile), after=after, margin=margin)
    assert em.run(short, (x * 255).round().byte()).steps_run.min() < short.total_steps
    em.export_c(short, tmp_path, samples=(x * 255).round().byte())
    status, text = compiled(tmp_path)
    assert status == 0 and "equal to the emulator: 12 of 12 samples" in text, text


@needs_compiler
@settings(max_examples=30)
@given(st.data())
def test_c_stops_as_the_emulator(tmp_path_factory, data):
    """Every neuron, membrane or score, operation and class."""
    if data.draw(st.booleans()):
        model = windowed(data.draw(st.sampled_from(["128-9-5", "4C3-AP2-R(6C3)-MP2-5"])), inputs=9)
    else:
        options = {"readout": data.draw(st.sampled_from((*MEMBRANES, "twd-exp", "first-spike")))}
        options["encoder"] = data.draw(st.sampled_from(["latency", "direct"]))
        if options["readout"] in MEMBRANES or options["readout"] == "twd-exp":
            options["population"] = data.draw(st.sampled_from([1, 2]))
        model = net("4C3-AP2-12-5", **options)
    program, x = em.quantize(model, data.draw(st.sampled_from(["generic8", "loihi-like"]))), images(model, 12)
    steps = data.draw(st.sampled_from(program.score_steps))
    margin = data.draw(st.none() | st.floats(0.01, 3)) if program.readout.kind == "membrane" else None
    short = em.stopped(program, after=steps, margin=margin)
    folder = tmp_path_factory.mktemp("c")
    made = em.export_c(short, folder, samples=(x * 255).round().byte())
    status, text = compiled(folder)
    assert status == 0 and "equal to the emulator: 12 of 12 samples" in text, text
    figures = [int(n) for n in re.findall(r"(\d+) bytes", text)]
    assert 0 <= figures[1] - made.state_bytes < 32  # padding


def test_what_has_no_steps_refuses_a_margin(tmp_path):
    program = em.stopped(em.quantize(windowed("128-9-5")), margin=0.5)
    with pytest.raises(ValueError, match="margin"):
        em.IntegerNet(program)
    with pytest.raises(ValueError, match="margin"):
        em.export_rtl(program, tmp_path)


def test_a_program_that_stops_is_saved(tmp_path):
    model = net("30-20-5", encoder="latency", readout="membrane-mean")
    short = em.stopped(em.quantize(model), after=4, margin=0.2)
    again = em.load(em.save(short, tmp_path / "short.program"))
    first, second = (em.run(program, images(model)) for program in (short, again))
    np.testing.assert_array_equal(first.steps_run, second.steps_run)
    np.testing.assert_array_equal(first.predictions, second.predictions)
    assert first.steps_run.max() <= 4


@pytest.mark.parametrize("model", [net("30-20-5", encoder="latency", readout="membrane-mean"), windowed()])
def test_a_curve_of_accuracy_and_energy(model):
    program, x = em.quantize(model, "loihi-like"), images(model)
    labels = torch.from_numpy(em.run(program, x).predictions)
    curve = em.stopping(program, x, labels)
    assert curve["steps"].tolist() == [*program.score_steps] and curve["accuracy"].iloc[-1] == curve["agreement"].iloc[-1] == 1
    for row in curve.iloc[[0, 3]].to_dict("records"):
        ran = em.run(program, x, labels=labels, stop_after=int(row["steps"]))
        expected = em.report(ran).accounts[0].total
        assert row["accuracy"] == ran.accuracy and row["energy_nj"] == pytest.approx(expected)
    assert curve["energy_nj"].is_monotonic_increasing and (curve["latency_steps"].diff()[1:] == 1).all()
