"""Break-even points and the three sentences, against the energies that they speak of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike import energy
from firstspike.energy import LayerCounts

from .test_account import HIDDEN, POOL

WINDOWED = st.builds(
    lambda inputs, neurons, share, steps: LayerCounts(
        name="layer",
        timing="windowed",
        neurons=neurons,
        inputs=inputs,
        sources=inputs,
        outputs=neurons,
        macs=inputs * neurons,
        nonzero_macs=share * inputs * neurons,
        events=share * inputs,
        additions=share * inputs * neurons,
        active=neurons * steps,
        in_steps=steps,
        steps=steps,
    ),
    st.integers(1, 10_000),
    st.integers(1, 1000),
    st.floats(0.01, 1),
    st.integers(1, 255),
)


@given(WINDOWED, st.sampled_from(("clocked", "neuron-by-neuron", "payload")))
def test_at_the_break_even_a_layer_needs_as_much_as_with_relu(layer, schedule):
    [row] = energy.break_even([layer], schedule=schedule).to_dict("records")
    if row["break_even_spikes"] > 0:
        factor = row["break_even_spikes"] / row["spikes_per_input"]
        at = replace(layer, events=factor * layer.events, additions=factor * layer.additions)
        assert energy.accounts([at], schedule=schedule).total == pytest.approx(row["relu_nj"])
    if 0 < row["break_even_fan_in"] < float("inf"):
        factor = row["break_even_fan_in"] / row["fan_in"]
        at = replace(layer, macs=factor * layer.macs, additions=factor * layer.additions)
        assert energy.accounts([at], schedule=schedule).total == pytest.approx(energy.relu([at]))
    else:
        assert energy.accounts([layer], schedule=schedule).total >= energy.relu([layer])


def test_every_schedule_and_model_is_a_row_with_its_own_energy():
    frame = energy.compare([HIDDEN, POOL]).set_index("schedule")
    for schedule in energy.SCHEDULES:
        assert frame.loc[schedule, "net"] == energy.accounts([HIDDEN, POOL], schedule=schedule).total
    assert frame.loc["published", "net"] == energy.lemaire.spiking_nj([HIDDEN, POOL])
    assert frame.loc["published", "times_relu"] == pytest.approx(
        energy.lemaire.spiking_nj([HIDDEN, POOL]) / energy.lemaire.relu_nj([HIDDEN, POOL])
    )
    step = [replace(HIDDEN, timing="step")]
    assert energy.compare(step, "loihi-sanafe")["schedule"].tolist() == ["clocked", "event", "published"]


def test_as_many_bits_as_the_levels_need():
    """T = 16 has 17 levels, 5 bits."""
    assert energy.relu([replace(HIDDEN, levels=17)], bits="equal") == pytest.approx(1.35 + 0.2 * 5 / 8)
    assert energy.relu([replace(HIDDEN, levels=256)], bits="equal") == pytest.approx(1.55)


def test_the_cause_is_the_largest_part_and_the_changes_are_counted():
    long = replace(HIDDEN, in_steps=255, active=2000, idle=630)
    answer, cause, change = energy.verdict([long])
    assert answer.startswith("More") and "updates" in cause and "hidden" in cause
    shorter = energy.accounts([replace(long, in_steps=15, active=2000 * 23 / 263, idle=630 * 23 / 263)]).total
    assert f"input_steps = 15 ({shorter:.4g} nJ)" in change
    assert "payload" in change and "payload" not in energy.verdict([long], schedules=["clocked"])[2]
    direct = LayerCounts(name="direct", neurons=2, macs=1e4, nonzero_macs=1e3, direct_macs=1e4, active=8, idle=8, steps=8)
    _, cause, change = energy.verdict([direct, HIDDEN])
    assert "multiply-adds" in cause and "direct" in cause and 'encoder = "latency"' in change


def test_less_than_a_relu_net_that_skips_zeros_is_said_only_where_it_is_so():
    few = replace(HIDDEN, events=1, additions=10, nonzero_macs=900, neurons=1, active=1, idle=0)
    assert energy.verdict([few])[0].startswith("Less energy")
    assert "unless" in energy.verdict([replace(few, nonzero_macs=10)])[0]


def test_a_table_without_memory_never_stands_alone():
    counts = [replace(HIDDEN, timing="step"), replace(HIDDEN, timing="step")]
    alone = energy.verdict(counts, "45nm-float")[0]
    with_memory = energy.accounts(counts).total / energy.relu(counts)
    assert alone.startswith("Less energy") and f"{with_memory:.2f} times (45nm-integer)" in alone and with_memory > 1
    assert "45nm-integer" not in energy.verdict(counts, "45nm-float", "clocked")[1]
