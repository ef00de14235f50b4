"""Running programs: inputs, readouts, early exit, traces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import SpikeTimes
from firstspike import emulator as em
from firstspike.emulator.program.host import Readout
from firstspike.emulator.program.program import Program

from ..nets import dense, images, net, with_policy


def spiking(weight, theta, readout, **changes):
    """A program of one linear layer; sources fire as told."""
    layer, profile = dense(weight, theta, **changes), em.profile.load("generic8")
    return Program(layers=[layer], steps=4, profile=profile, readout=readout)


def times(*rows):
    return torch.tensor(rows, dtype=torch.uint8)


@pytest.mark.parametrize(("mode", "best"), [("last", [1, 0]), ("index", [0, 0])])
def test_first_spike_ties_go_to_the_larger_overshoot_then_to_the_lower_index(mode, best):
    program = spiking([[5, 7, 7]], [5, 5, 5], Readout(kind="first-spike", mode=mode))
    ran = em.run(program, SpikeTimes(times([2], [255]), 4))
    assert ran.predictions.tolist() == best  # overshoots 0, 2, 2; then all silent at V = 0
    assert ran.ties.tolist() == [True, True] and ran.silent.tolist() == [False, True]
    assert ran.decision_step.tolist() == [2, -1]


@pytest.mark.parametrize(("mode", "expected", "settled"), [("last", [2, 5], 2), ("mean", [8, 10], 3), ("weighted", [20, 15], 0)])
def test_membrane_scores_by_hand(mode, expected, settled):
    """Sources in steps 0 and 2: V_0 = 2 2 2 2, V_1 = 0 0 5 5; weights 4 3 2 1.

    Running scores: last as V; mean 2 4 6 8 and 0 0 5 10; weighted 8 14 18 20 and 0 0 10 15.
    """
    program = spiking([[2, 0], [0, 5]], [0, 0], Readout(kind="membrane", mode=mode), fires=False)
    ran = em.run(program, SpikeTimes(times([0, 2]), 4))
    assert ran.scores.tolist() == [expected] and ran.decision_step.tolist() == [settled]


def test_temporal_weighting_is_the_float_decoders():
    model = net("30-20-5", encoder="latency", readout="twd-linear", population=3)
    program, x = em.quantize(model, "generic8"), images(net("30-20-5"))
    ran = em.run(program, x)
    raw = program.engine().run(program.input_times(x))
    with torch.no_grad():
        expected = model.readout(SpikeTimes(torch.from_numpy(raw.times[-1]), program.steps))
    # three neurons per class: the float decoder takes their mean, and weights its first step by gamma
    weight = program.readout.gamma / (3 * 2**30)
    np.testing.assert_allclose(ran.scores * weight, expected.numpy() / model.readout.scale, rtol=1e-6, atol=1e-9)
    assert ran.scores.dtype == np.int64


@pytest.mark.parametrize("readout", ["first-spike", "twd-exp"])
def test_early_exit_keeps_every_answer(readout):
    model = net("30-20-5", encoder="latency", readout=readout, population=1)
    program, x = em.quantize(model, "loihi-like"), images(model, 200)
    whole, exited = em.run(program, x), em.run(program, x, early_exit=True)
    np.testing.assert_array_equal(whole.predictions, exited.predictions)
    np.testing.assert_array_equal(whole.decision_step, exited.decision_step)
    assert (exited.steps_run <= whole.steps_run).all() and exited.steps_run.sum() < whole.steps_run.sum()
    assert exited.count("delivered").sum() < whole.count("delivered").sum()
    assert exited.input_events.sum() < whole.input_events.sum()
    undelayed = em.quantize(model, "generic8")
    exited = em.run(undelayed, x, early_exit=True)
    assert (exited.input_events == exited.count("events")[:, 0]).all()


@pytest.mark.parametrize(
    "options", [{"readout": "membrane"}, *({"readout": "twd-exp", "gamma": g, "population": n} for g, n in ((1.2, 2), (1.0, 1)))]
)
def test_early_exit_is_refused_where_it_could_change_an_answer(options):
    model = net("30-20-5", encoder="latency", **options)
    with pytest.raises(ValueError, match="early_exit"):
        em.run(em.quantize(model, "generic8"), images(model), early_exit=True)


def test_overflow_policies_of_a_whole_program(monkeypatch):
    """The sample that overflows is named by its number among all."""
    monkeypatch.setattr("firstspike.emulator.reporting.run.BATCH", 4)
    model = net("30-20-5", encoder="latency", bias=False)
    narrow = em.profile.load("generic8").replace(membrane_bits=8, accumulator_bits=8, threshold_bits=6)
    program, x = em.quantize(model, narrow), images(model)[:10]
    runs = {policy: em.run(with_policy(program, policy), x) for policy in ("saturate", "wrap")}
    assert runs["saturate"].count("membrane_overflows").sum() > 0
    assert (runs["saturate"].scores != runs["wrap"].scores).any()
    x[:9] = 0  # no spike, no sum
    with pytest.raises(em.OverflowRefused, match="layer 0:TTFSLinear: .* times in sample 9, "):
        em.run(with_policy(program, "error"), x)
