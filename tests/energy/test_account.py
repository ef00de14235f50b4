"""Energies of schedules and of ReLU partners, against sums by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firstspike import energy
from firstspike.energy import LayerCounts

# 40 spikes of 100 inputs reach 10 neurons each: windows of 15 and 8 steps.
HIDDEN = LayerCounts(
    name="hidden",
    timing="windowed",
    neurons=10,
    inputs=100,
    sources=100,
    outputs=10,
    weights=1000,
    macs=1000,
    nonzero_macs=400,
    events=40,
    additions=400,
    spikes=5,
    active=150,
    idle=80,
    in_steps=15,
    steps=8,
)
POOL = LayerCounts(name="pool", timing="windowed", kind="pool", neurons=2, events=5, additions=5, active=2, idle=14, in_steps=8)


@pytest.mark.parametrize(
    ("schedule", "picojoules"),
    [
        ("clocked", 405 * 1.35 + 246 * 20.2),
        ("event", 405 * 1.35 + 152 * 20.2),
        ("neuron-by-neuron", 405 * 1.35 + 12 * 20 + (10 * 23 + 2 * 8) * 0.2),
        ("payload", 400 * 1.55 + 5 * 1.35 + 12 * 20.2),  # a pool compares
    ],
)
def test_a_layer_and_a_pool_in_each_schedule(schedule, picojoules):
    account = energy.accounts([HIDDEN, POOL], "45nm-integer", schedule)
    assert account.total == pytest.approx(picojoules / 1e3)
    assert sum(account.by_layer()) == pytest.approx(account.total) and account.names == ["hidden", "pool"]


def test_partners_with_relu():
    assert energy.relu([HIDDEN, POOL]) == pytest.approx(1.55)
    assert energy.relu([HIDDEN, POOL], skip_zeros=True) == pytest.approx(0.4 * 1.55)
    assert energy.relu([HIDDEN], bits=4) == pytest.approx(1.35 + 0.2 * 4 / 8)
    assert energy.relu([HIDDEN], "loihi-sanafe") is None
    with pytest.raises(ValueError, match="multiply_pj"):
        energy.relu([HIDDEN], "45nm-float", bits=4)


def test_what_a_net_or_a_table_cannot_have_is_refused():
    with pytest.raises(ValueError, match="step by step"):
        energy.accounts([replace(HIDDEN, timing="step")], schedule="payload")
    with pytest.raises(ValueError, match="visit_pj"):
        energy.accounts([HIDDEN], "loihi-sanafe", "neuron-by-neuron")
    with pytest.raises(ValueError, match="one figure"):
        energy.accounts([HIDDEN], "odin-frenkel2019", "payload")


def test_a_first_layer_without_figure_takes_that_of_another_table_and_says_so():
    first = LayerCounts(name="first", neurons=4, macs=100, direct_macs=100, active=8, idle=24, steps=8)
    account = energy.accounts([first], "odin-frenkel2019")
    assert account.total == account.first_layer == pytest.approx(0.155)
    assert any("45nm-integer" in note for note in account.notes)
    host = energy.accounts([replace(first, host=True, on_cores=False)])
    assert host.total == pytest.approx(0.46)
