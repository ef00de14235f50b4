"""Needs of cores: sources, synapses, axons and links, against the explicit synapse matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike.emulator import Program, place, profile
from firstspike.emulator.placement.cores import Costs
from firstspike.emulator.program.profile import CoreKind

from .. import golden
from ..networks import networks
from .test_placer import cores, linear, program


def synapses(made):
    """By (source layer, target layer), bool [sources, neurons]: -1 is the net's input."""
    found = {}
    for n, layer in enumerate(made.layers):
        found[n - 1, n] = golden.unroll(layer)[1]
        if layer.shortcut is not None:
            beside = golden.unroll_shortcut(layer)[1]
            source = layer.shortcut.source
            found[source, n] = beside | found.get((source, n), False)
    return found


def by_hand(placed):
    """By (layer, its core or None, target core), the neurons with a synapse to a neuron on the target."""
    made, matrices = placed.program, synapses(placed.program)
    heard = {}  # by (source layer, target core), bool [sources]
    for (source, target), matrix in matrices.items():
        for slot in placed.slots:
            if slot.layer == target:
                reached = matrix[:, slot.first : slot.last].any(1)
                heard[source, slot.core] = reached | heard.get((source, slot.core), False)
    inputs = int(np.prod(made.input_shape))
    parts = [(-1, None, 0, inputs), *((s.layer, s.core, s.first, s.last) for s in placed.slots)]
    counts = {
        (layer, core, target): int(reached[first:last].sum())
        for layer, core, first, last in parts
        for (source, target), reached in heard.items()
        if source == layer
    }
    return {key: count for key, count in counts.items() if count}


def _at_once(shortcut):
    return None if shortcut is None else shortcut.replace(delay=0)


@given(st.data())
def test_links_and_axons_are_those_of_the_synapse_matrices(data):
    drawn, steps, _, _ = data.draw(networks(all_fire=True))
    layers = [layer.replace(delay=0, start=0, stop=steps, shortcut=_at_once(layer.shortcut)) for layer in drawn]
    size = data.draw(st.integers(1, 40))
    most = max(layer.neurons for layer in layers)
    chip = profile.load("generic8").replace(
        cores=cores(neurons=max(size, most // 30), count=200), threshold_groups=None
    )
    placed = place(Program(layers=layers, steps=steps, profile=chip))
    expected = by_hand(placed)
    assert {(link.layer, link.core, link.target): link.neurons for link in placed.links} == expected
    for slot in placed.slots:
        out = sum(count for (layer, core, _), count in expected.items() if (layer, core) == (slot.layer, slot.core))
        assert slot.axons_out == out
    for core in {slot.core for slot in placed.slots}:
        into = sum(count for (_, _, target), count in expected.items() if target == core)
        assert sum(slot.axons_in for slot in placed.slots if slot.core == core) == into
    inputs = sum(count for (layer, _, _), count in expected.items() if layer < 0)
    assert sum(slot.axons_out for slot in placed.slots) + inputs == sum(slot.axons_in for slot in placed.slots)


@pytest.mark.parametrize("small_first", [True, False])
def test_a_small_kind_of_core_does_not_hold_a_layer_back(small_first):
    """One core has 5 axons out, too few for any part of layer a with its two destinations; the others hold the net."""
    small, large = CoreKind(count=1, neurons=4, axons_out=1), CoreKind(count=4, neurons=6, axons_out=100)
    kinds = (small, large) if small_first else (large, small)
    placed = place(program([linear(10, 6), linear(6, 8, "b"), linear(8, 2, "c")], cores=kinds))
    where = [kind for kind in kinds for _ in range(kind.count)]
    assert sum(slot.neurons for slot in placed.slots) == 16
    for slot in placed.slots:
        assert slot.axons_out <= where[slot.core].axons_out
    assert placed.cores_used <= 4


@given(st.data())
def test_needs_of_ranges_are_those_of_an_unrolled_table(data):
    """Axons, synapses and thresholds of any range of neurons of any layer, against the explicit synapse matrices."""
    drawn, _, _, _ = data.draw(networks(all_fire=True))
    index = data.draw(st.integers(0, len(drawn) - 1))
    layer, chip = drawn[index], profile.load("generic8")
    first = data.draw(st.integers(0, layer.neurons - 1))
    last = data.draw(st.integers(first + 1, layer.neurons))
    part = slice(first, last)
    costs, matrix = Costs(layer, index, chip.replace(shared_weights=False)), golden.unroll(layer)[1]
    reached = {index - 1: matrix[:, part].any(1)}
    height, width, channels = layer.in_shape
    pooled = matrix.reshape(height, width, channels, -1)[:: layer.pool, :: layer.pool]
    pooled = pooled[: height // layer.pool, : width // layer.pool]
    wanted, fan_in, table = pooled[..., part].sum(), matrix.sum(0), pooled.sum()
    if layer.shortcut is not None:
        beside, source = golden.unroll_shortcut(layer)[1], layer.shortcut.source
        reached[source] = beside[:, part].any(1) | reached.get(source, False)
        wanted, fan_in, table = wanted + beside[:, part].sum(), fan_in + beside.sum(0), table + beside.sum()
    sources = costs.sources(first, last)
    assert sources.count() == sum(each.sum() for each in reached.values())
    for source, each in reached.items():
        if each.any():
            np.testing.assert_array_equal(sources.neurons(source), each)
    assert costs.synapses(first, last) == wanted
    assert (layer.synapses, layer.fan_in >= fan_in.max()) == (table, True)
    assert costs.thetas(first, last) == {int(layer.theta[n % layer.out_shape[2]]) for n in range(first, last)}
    if layer.kind == "conv":
        assert Costs(layer, index, chip).synapses(first, last) == layer.stored_weights
