"""Placement: counts by hand, limits that are named, matching where greed fails."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import SpikeTimes
from firstspike import emulator as em
from firstspike.emulator.placement import placer
from firstspike.emulator.placement.matching import kernel_entries, neuron_entries
from firstspike.emulator.placement.placer import place, use
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
    """10 inputs at 8 bits are 80 bits per neuron: 250 bits hold 3."""
    placed = place(program([linear(10, 4)], cores=cores(synapse_bits=250)))
    assert [(s.neurons, s.memory) for s in placed.slots] == [(3, 240), (1, 80)]


def test_a_layer_takes_the_bits_that_its_codes_need():
    narrow = linear(10, 4, weight=np.full((10, 4), 3, np.int8))
    assert place(program([narrow])).slots[0].memory == 10 * 4 * 3
    even = narrow.replace(weight=np.full((10, 4), 6, np.int8))
    assert place(program([even], "loihi-like")).slots[0].memory == 10 * 4 * 3  # 6 is the code 3


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
    ("layers", "changes", "resource", "required", "available"),
    [
        ([linear(10, 4)], {"cores": cores(axons_in=9)}, "axons in for one neuron", 10, 9),
        ([linear(10, 4)], {"cores": cores(synapse_bits=79)}, "synapse bits for one neuron", 80, 79),
        (
            [linear(10, 41)],
            {"cores": cores(neurons=10)},
            "cores for its neurons (neurons used up)",
            "41 neurons",
            "40 on the 4 cores of generic8",
        ),
        ([linear(10, 4), linear(4, 4, "b")], {"cores": cores(neurons=4, axons_out=0)}, "axons out of core 0", 4, 0),
        (
            [linear(10, 4, theta=np.arange(1, 5))],
            {"cores": cores(neurons=4, count=1), "thresholds": "group", "threshold_groups": 2},
            "cores for its neurons (thresholds used up)",
            "4 neurons",
            "2 on the 1 cores of generic8",
        ),
    ],
)
def test_refusals(layers, changes, resource, required, available):
    with pytest.raises(em.DoesNotFit) as caught:
        place(program(layers, **changes))
    error = caught.value
    assert (error.layer, error.resource, error.required, error.available) == (
        layers[-1 if "axons out" not in resource else 0].name,
        resource,
        required,
        available,
    )
    assert error.problem == f"{resource}: required {required}, available {available}"
    assert str(error) == f"layer {error.layer}: {error.problem}; {error.remedy}"


def test_thresholds_per_core_split_a_layer():
    placed = place(program([linear(10, 6, theta=np.array([1, 1, 2, 3, 3, 4]))], thresholds="group", threshold_groups=2))
    assert [(s.first, s.last) for s in placed.slots] == [(0, 3), (3, 6)]


def test_convolution_core_memory_by_hand():
    """c 2^(ceil(log2 9) + ceil(log2 f)) and f 2^(ceil(log2 fy) + ceil(log2 fx))."""
    layer = conv(28, 3, 20)
    assert kernel_entries(layer) == 3 * 2 ** (4 + 5)
    assert neuron_entries(layer) == 20 * 2 ** (5 + 5)


def test_matching_succeeds_where_first_fit_would_fail():
    """The small layer fits both cores, the large one only the first."""
    small, large = conv(4, 1, 2, "small"), conv(4, 2, 32, "large")
    kinds = (
        CoreKind(count=1, kernel_entries=4096, neuron_entries=4096),
        CoreKind(count=1, kernel_entries=64, neuron_entries=4096),
    )
    placed = place(program([small, large], "speck-like", cores=kinds))
    assert [(s.layer, s.core) for s in placed.slots] == [(0, 1), (1, 0)]


def test_more_layers_than_cores():
    layers = [conv(4, 2, 2, str(n)) for n in range(10)]
    with pytest.raises(
        em.DoesNotFit, match="a core of its own: required 10 layers on different cores, available 9 matched of 9 cores"
    ):
        place(program(layers, "speck-like"))


def test_a_layer_that_no_core_holds_is_refused_at_once_and_names_the_resource():
    """odin-like has 256 axons per core; the refusal asks one core once, not every core for every split."""
    layer = linear(8000, 8000, theta=np.arange(1, 8001))
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        original = placer._Core.shortage
        patch.setattr(placer._Core, "shortage", lambda *a: (asked.append(1), original(*a))[1])
        with pytest.raises(em.DoesNotFit, match="axons in for one neuron: required 8000, available 256"):
            place(program([layer], "odin-like"))
    assert len(asked) == 1


def test_thresholds_per_core_count_in_groups_alone():
    """A profile with one threshold per neuron may still say how many groups there would be."""
    layers = [linear(10, 6, theta=np.array([1, 1, 2, 3, 3, 4]))]
    assert [(s.first, s.last) for s in place(program(layers, threshold_groups=2)).slots] == [(0, 6)]


def test_shares_of_the_fullest_core():
    """5 of 8 neurons and 4 of 8 on two cores; 8-bit weights of 10 inputs: 400 of 1000 bits."""
    layers = [linear(10, 5), linear(5, 4, "b")]
    found = use(place(program(layers, cores=cores(neurons=5, synapse_bits=1000))))
    assert found["fullest_core_neurons"] == 1.0 and found["fullest_core_memory"] == 0.4


def test_an_unknown_limit_gives_no_share():
    made = program([linear(10, 4)], cores=(CoreKind(count=1),))
    placed = place(made)
    found = use(placed)
    assert found["fullest_core_neurons"] is None and found["fullest_core_memory"] is None
    report = em.report(em.run(made, SpikeTimes(torch.zeros(1, 10, dtype=torch.uint8), 4)), placement=placed)
    assert report.summary()["fullest_core_neurons"] is None
    assert "fullest core, share of its neurons: unknown" in report.text()
    assert '"fullest_core_memory": null' in report.to_json()


def test_the_fullest_core_is_one_whose_limit_is_known():
    kinds = (CoreKind(count=1, neurons=4), CoreKind(count=1, synapse_bits=1000))
    found = use(place(program([linear(10, 7)], cores=kinds)))
    assert found["fullest_core_neurons"] == 1.0 and found["fullest_core_memory"] == 0.24  # 3 neurons of 80 bits


def test_a_convolution_core_counts_entries_of_its_memories():
    """10 x 10 neurons of 32 features take 32 * 2^(4 + 4) entries."""
    layer = conv(10, 1, 32)
    placed = place(program([layer], "speck-like", cores=cores(kernel_entries=16384, neuron_entries=65536)))
    assert layer.neurons == 3200 and neuron_entries(layer) == 8192
    found = use(placed)
    assert found["fullest_core_neurons"] == 0.125 and found["fullest_core_memory"] == 512 / 16384


def test_the_picture_says_unknown_instead_of_an_empty_core():
    drawn = place(program([linear(10, 7).replace(name=r"$\frac$")], cores=cores(neurons=5))).figure()  # no mathematics
    svg(drawn)
    axes = drawn.axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([100, 40])
    assert [text.get_text() for text in axes.texts] == ["unknown"] * 4  # of synapse memory and of axons in
