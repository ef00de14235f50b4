"""Messages, hops and their energy, derived by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from firstspike import SpikeTimes
from firstspike import emulator as em
from firstspike.emulator.program import profile
from firstspike.emulator.program.host import Encoder, Readout
from firstspike.emulator.program.layers import Layer, Register, Shortcut
from firstspike.emulator.program.profile import CoreKind
from firstspike.emulator.program.program import Program
from firstspike.emulator.reporting.energy_account import account
from firstspike.emulator.reporting.traffic import traffic


def linear(name, inputs, outputs):
    """A layer in which every neuron fires with its first event."""
    return Layer(
        name,
        "linear",
        np.ones((inputs, outputs), np.int8),
        np.ones(outputs, np.int64),
        np.zeros(outputs, np.int64),
        (1, 1, inputs),
        (1, 1, outputs),
        Register.of(16),
        Register.of(16),
        stop=2,
        scale=np.ones(outputs),
    )


@pytest.fixture(scope="module")
def ran():
    """3 inputs, two of which fire; 20 neurons on cores 0 to 4, four each; then 4 neurons on core 5, and 1 on core 6."""
    chip = profile.load("generic8").replace(cores=(CoreKind(32, neurons=4),))
    layers = [linear("a", 3, 20), linear("b", 20, 4), linear("c", 4, 1)]
    program = Program(layers, 2, chip, Encoder("spikes"), Readout("first-spike"))
    return em.run(program, SpikeTimes(torch.tensor([[0, 0, 255]], dtype=torch.uint8), 2))


def test_messages_and_hops(ran):
    """Tiles of four cores, in columns of one tile: a has cores 0 to 3 on tile 0 and core 4 on tile 1, b and c tile 1.

    Messages: 2 events to 5 cores, 20 spikes to 1, 4 spikes to 1: 34. Hops with one row, all east-west: 2 events go to
    core 4 on tile 1, 16 spikes of tile 0 go to tile 1: 18. With four rows they are all north-south.
    """
    placement = em.place(ran.program)
    assert [slot.core for slot in placement.slots] == [0, 1, 2, 3, 4, 5, 6]
    moved = traffic(ran, placement, 1, 4)
    assert (moved.messages, moved.east_west, moved.north_south) == (34, 18, 0)
    moved = traffic(ran, placement, 4, 4)
    assert (moved.messages, moved.east_west, moved.north_south) == (34, 0, 18)
    moved = traffic(ran, placement, 1, 1)  # every core a tile: 0+1+2+3+4, twice; 4 times 5+4+3+2+1; 4 times 1
    assert (moved.messages, moved.east_west, moved.north_south) == (34, 20 + 60 + 4, 0)
    assert traffic(ran, None, 4, 4) == type(moved)(2 + 20 + 4, 0.0, 0.0)


def test_the_second_table_of_loihi(ran):
    """Per image: 2 20 + 20 4 + 4 operations, 25 neurons active in step 0 and not in step 1, 25 that fire."""
    a = account(ran, "loihi-sanafe", em.place(ran.program))
    assert a.synapses == pytest.approx(124 * 35.5e-3)
    assert a.updates_active == pytest.approx(25 * (51.2 + 21.6) * 1e-3)
    assert a.updates_inactive == pytest.approx(25 * 51.2e-3)
    assert a.firing == pytest.approx(25 * 69.3e-3)
    assert a.messages == pytest.approx(34 * 111e-3) and a.hops == pytest.approx(18 * 4.2e-3)
    assert a.routing is None and not any("routing" in note for note in a.notes)
    parts = a.frame().set_index("part")["energy_nj_per_image"]
    assert (
        parts["cores"]
        == a.total
        == pytest.approx(124 * 35.5e-3 + 25 * (124.0 + 69.3) * 1e-3 + 34 * 111e-3 + 18 * 4.2e-3)
    )
    assert {"firing", "messages", "hops"} <= set(parts.index) and "routing" not in parts.index
    assert not {"firing", "messages", "hops"} & set(account(ran, "loihi-davies2018").frame()["part"])
    assert any("without a placement" in note for note in account(ran, "loihi-sanafe").notes)


def test_convolutions_cost_less_per_operation(ran):
    layers = [replace(linear("a", 3, 20), kind="conv", weight=np.ones((3, 1, 1, 20), np.int8)), *ran.program.layers[1:]]
    program = replace(ran.program, layers=layers)
    other = em.run(program, SpikeTimes(torch.tensor([[0, 0, 255]], dtype=torch.uint8).reshape(1, 3), 2))
    assert account(other, "loihi-sanafe").synapses == pytest.approx(40 * 24.0e-3 + 84 * 35.5e-3)


def test_a_shortcut_is_a_message_to_the_cores_of_its_layer_too(ran):
    """The 20 spikes of a go to the core of b, and by the shortcut each to the one core of its neuron in c."""
    *before, last = ran.program.layers
    wide = replace(
        last, weight=np.ones((4, 20), np.int8), out_shape=(1, 1, 20), theta=np.full(20, 9), scale=np.ones(20)
    )
    wide = replace(wide, bias=np.zeros(20, np.int64), shortcut=Shortcut(0, (1, 1, 20), np.full(20, 9)))
    program = replace(ran.program, layers=[*before, wide])
    run = em.run(program, SpikeTimes(torch.tensor([[0, 0, 255]], dtype=torch.uint8), 2))
    assert run.count("spikes")[0].tolist() == [20, 4, 20]  # 4 events of b are not enough for a threshold of 9
    placement = em.place(program)
    assert placement.destinations(-1) == 5 and placement.destinations(0) == 1 + 5 and placement.destinations(1) == 5
    assert traffic(run, placement, 1, 4).messages == 2 * 5 + 20 * 2 + 4 * 5
    assert traffic(run, None, 1, 4).messages == 2 + 20 * 2 + 4
    assert run.count("events")[0].tolist() == [2, 20, 4] and run.count("delivered")[0].tolist() == [40, 80, 80 + 20]
