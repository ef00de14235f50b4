"""Placement: counts by hand, limits that are named, matching where greed fails."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import SpikeTimes
from firstspike import emulator as em
from firstspike.emulator.placement.placer import kernel_entries, neuron_entries, place, use
from firstspike.emulator.program import profile
from firstspike.emulator.program.profile import CoreKind
from firstspike.emulator.program.program import Program
from firstspike.report import svg

from .. import golden
from ..nets import dense


def program(layers, name="generic8", **changes):
    return Program(layers=layers, steps=4, profile=profile.load(name).replace(**changes))


def linear(inputs, outputs, name="a", **changes):
    return dense(np.full((inputs, outputs), 127), np.full(outputs, 9), name=name, **changes)


def conv(height, channels, features, name="c", **changes):
    facts = {
        "kind": "conv",
        "weight": np.full((channels, 3, 3, features), 127, np.int8),
        "in_shape": (height, height, channels),
        "out_shape": (height, height, features),
        "padding": (1, 1),
    }
    return linear(channels, features, name, **facts | changes)


def cores(**limits):
    return (CoreKind(count=limits.pop("count", 4), **limits),)


def test_neurons_split_in_order_and_share_cores():
    placed = place(program([linear(10, 7), linear(7, 4, "b")], cores=cores(neurons=5)))
    rows = [(s.layer, s.core, s.first, s.last) for s in placed.slots]
    assert rows == [(0, 0, 0, 5), (0, 1, 5, 7), (1, 1, 0, 3), (1, 2, 3, 4)]
    assert placed.cores_used == 3
    assert [s.axons_out for s in placed.slots] == [10, 4, 0, 0]  # 5 and 2 neurons to the two cores of layer b


def test_a_net_of_many_neurons_is_refused_before_any_work():
    maps = {"in_shape": (4096, 4096, 1), "out_shape": (4096, 4096, 1)}
    with pytest.raises(ValueError, match="layers: must have at most 67108864 neurons"):
        program([conv(4096, 1, 1, **maps)] * 5)


def test_synapse_bits_by_hand():
    """10 inputs at 8 bits are 80 bits per neuron: 250 bits hold 3. A layer takes the bits that its codes need."""
    placed = place(program([linear(10, 4)], cores=cores(synapse_bits=250)))
    assert [(s.neurons, s.memory) for s in placed.slots] == [(3, 240), (1, 80)]
    for weight, chip in ((3, "generic8"), (6, "loihi-like")):  # there 6 is the code 3
        narrow = linear(10, 4, weight=np.full((10, 4), weight, np.int8))
        assert place(program([narrow], chip)).slots[0].memory == 10 * 4 * 3


@pytest.mark.parametrize(
    "change", [{}, {"pool": 2, "in_shape": (12, 12, 2)}, {"stride": (2, 2), "out_shape": (3, 3, 5)}]
)
def test_convolution_counts_are_those_of_the_unrolled_matrix(change):
    layer = conv(6, 2, 5, **change)
    _, synapses = golden.unroll(layer)
    pooled = synapses.sum() // layer.pool**2  # the sources of one pooled site share a weight
    assert layer.synapses == pooled
    unrolled = place(program([layer], shared_weights=False, cores=cores(neurons=50)))
    assert sum(s.memory for s in unrolled.slots) == pooled * 8
    for slot in unrolled.slots:
        assert slot.axons_in == synapses[:, slot.first : slot.last].any(1).sum()
    shared = place(program([layer], shared_weights=True, cores=cores(neurons=50)))
    assert all(s.memory == layer.weight.size * 8 for s in shared.slots)


@pytest.mark.parametrize(
    ("layers", "changes", "layer", "resource", "required", "available"),
    [
        ([linear(10, 4)], {"cores": cores(axons_in=9)}, "a", "axons in for one neuron", 10, 9),
        ([linear(10, 4)], {"cores": cores(synapse_bits=79)}, "a", "synapse bits for one neuron", 80, 79),
        ([linear(10, 41)], {"cores": cores(neurons=10)}, "a", "cores for its neurons (neurons used up)", "41 neurons",
         "40 on the 4 cores of generic8"),
        ([linear(10, 4), linear(4, 4, "b")], {"cores": cores(neurons=4, axons_out=0)}, "a", "axons out of core 0", 4, 0),
        ([linear(10, 4), linear(4, 8, "b")], {"cores": cores(neurons=4, axons_out=4, count=3)}, "a",
         "axons out of core 0", 8, 4),
        ([linear(10, 4, theta=np.arange(1, 5))],
         {"cores": cores(neurons=4, count=1), "thresholds": "group", "threshold_groups": 2}, "a",
         "cores for its neurons (thresholds used up)", "4 neurons", "2 on the 1 cores of generic8"),
        ([conv(4, 2, 2, str(n)) for n in range(10)], {"name": "speck-like"}, "0", "a core of its own",
         "10 layers on different cores", "9 matched of 9 cores"),
    ],
)  # fmt: skip
def test_refusals(layers, changes, layer, resource, required, available):
    with pytest.raises(em.DoesNotFit) as caught:
        place(program(layers, **changes))
    error = caught.value
    if resource == "a core of its own":
        layer = error.layer  # whichever the matching leaves out
    assert (error.layer, error.resource, error.required, error.available) == (layer, resource, required, available)
    assert error.problem == f"{resource}: required {required}, available {available}"


@pytest.mark.parametrize(("thresholds", "parts"), [("group", [(0, 3), (3, 6)]), ("neuron", [(0, 6)])])
def test_thresholds_per_core_split_a_layer_where_they_are_in_groups(thresholds, parts):
    layer = linear(10, 6, theta=np.array([1, 1, 2, 3, 3, 4]))
    placed = place(program([layer], thresholds=thresholds, threshold_groups=2))
    assert [(s.first, s.last) for s in placed.slots] == parts


def test_matching_succeeds_where_first_fit_would_fail():
    """The small layer fits both cores, the large one only the first."""
    small, large = conv(4, 1, 2, "small"), conv(4, 2, 32, "large")
    kinds = (
        CoreKind(count=1, kernel_entries=4096, neuron_entries=4096),
        CoreKind(count=1, kernel_entries=64, neuron_entries=4096),
    )
    placed = place(program([small, large], "speck-like", cores=kinds))
    assert [(s.layer, s.core) for s in placed.slots] == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("layers", "kinds", "neurons", "memory"),
    [  # 5 of 8 neurons and 4 of 8 on two cores; 8-bit weights of 10 inputs: 400 of 1000 bits
        ([linear(10, 5), linear(5, 4, "b")], cores(neurons=5, synapse_bits=1000), 1.0, 0.4),
        ([linear(10, 7)], (CoreKind(count=1, neurons=4), CoreKind(count=1, synapse_bits=1000)), 1.0, 0.24),
        ([linear(10, 4)], cores(count=1), None, None),
    ],
)
def test_shares_of_the_fullest_core_whose_limit_is_known(layers, kinds, neurons, memory):
    found = use(place(program(layers, cores=kinds)))
    assert (found["fullest_core_neurons"], found["fullest_core_memory"]) == (neurons, memory)


def test_placement_changes_no_results():
    made = program([linear(10, 7), linear(7, 4, "b")], cores=cores(neurons=5))
    x = SpikeTimes(torch.arange(30, dtype=torch.uint8).reshape(3, 10) % 4, 4)
    before = em.run(made, x)
    assert place(made).cores_used == 3
    other = em.run(made.replace(profile=profile.load("generic8")), x)
    for ran in (em.run(made, x), other):
        np.testing.assert_array_equal(ran.counters, before.counters)
        np.testing.assert_array_equal(ran.scores, before.scores)


def test_a_convolution_core_counts_entries_of_its_memories():
    """c 2^(ceil(log2 9) + ceil(log2 f)) and f 2^(ceil(log2 fy) + ceil(log2 fx))."""
    layer = conv(10, 1, 32)
    assert (kernel_entries(layer), neuron_entries(layer)) == (2 ** (4 + 5), 32 * 2 ** (4 + 4))
    placed = place(program([layer], "speck-like", cores=cores(kernel_entries=16384, neuron_entries=65536)))
    found = use(placed)
    assert found["fullest_core_neurons"] == 0.125 and found["fullest_core_memory"] == 512 / 16384


def test_the_picture_says_unknown_instead_of_an_empty_core():
    drawn = place(program([linear(10, 7).replace(name=r"$\frac$")], cores=cores(neurons=5))).figure()  # no mathematics
    svg(drawn)
    axes = drawn.axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([100, 40])
    assert [text.get_text() for text in axes.texts] == ["unknown"] * 4  # of synapse memory and of axons in
