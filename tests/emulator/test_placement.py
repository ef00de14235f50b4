"""Placement: counts by hand and against synapse matrices, limits that are named, refusals that come at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike import emulator as em
from firstspike import models
from firstspike.emulator.placement import Costs, kernel_entries, neuron_entries, place, use
from firstspike.emulator.program import profile
from firstspike.emulator.program.profile import CoreKind
from firstspike.emulator.program.program import Program

from . import golden
from .nets import WITHOUT_CURRENT, chained, changed, dense
from .networks import networks


def program(layers, name="generic8", **changes):
    return Program(layers=chained(layers), steps=4, profile=profile.load(name).replace(**changes))


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


def test_a_convolution_core_counts_entries_of_its_memories():
    """c 2^(ceil(log2 9) + ceil(log2 f)) and f 2^(ceil(log2 fy) + ceil(log2 fx))."""
    layer = conv(10, 1, 32)
    assert (kernel_entries(layer), neuron_entries(layer)) == (2 ** (4 + 5), 32 * 2 ** (4 + 4))
    placed = place(program([layer], "speck-like", cores=cores(kernel_entries=16384, neuron_entries=65536)))
    found = use(placed)
    assert found["fullest_core_neurons"] == 0.125 and found["fullest_core_memory"] == 512 / 16384


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


def _at_once(layer, steps):
    shortcut = layer.shortcut and layer.shortcut.replace(delay=0)
    return changed(layer, shortcut, delay=0, start=0, stop=steps)


@given(st.data())
def test_links_and_axons_are_those_of_the_synapse_matrices(data):
    drawn, steps, _, _ = data.draw(networks(all_fire=True))
    layers = [_at_once(layer, steps) for layer in drawn]
    size = data.draw(st.integers(1, 40))
    most = max(layer.neurons for layer in layers)
    chip = profile.load("generic8").replace(cores=cores(neurons=max(size, most // 30), count=200), threshold_groups=None)
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


def build(spec="64-32-10", shape=(64,), **options):
    return models.build(spec, input_shape=shape, steps=options.pop("steps", 8), **options)


def found(model, name):
    return [(f.problem, f.remedy) for f in em.check(model, name).findings]


@pytest.mark.parametrize("name", [*WITHOUT_CURRENT, "rtl-ecp5-25", "rtl-ecp5-85"])
def test_what_fits_is_what_quantize_and_place_take(name):
    of_windows = profile.load(name).fpga is not None
    model = build("64-32-10", **({"timing": "windowed"} if of_windows else {"bias": False}))
    checked = em.check(model, name)
    placement = em.place(em.quantize(model.eval(), name))
    assert checked.fits and (checked.cores_used, checked.cores_available) == (placement.cores_used, placement.available)
    assert checked.text() == f"{name}: fits, {checked.cores_used} of {checked.cores_available} cores\n"


def test_all_limits_of_all_layers_come_at_once():
    chip = profile.load("generic8").replace(max_features=2, max_kernel=3)
    told = em.check(build("4C3-4C5-6C5-10", (1, 12, 12)), chip).findings
    assert [one.problem.partition(":")[0] for one in told] == ["kernel side", "features"] * 2
    assert [one.layer for one in told] == ["1:TTFSConv2d"] * 2 + ["2:TTFSConv2d"] * 2


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
        ("4C3-AP2-10", {"max_fan_in": 4 * 12 * 12 - 1}, "fan-in of a neuron: required 576, available 575"),
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


@pytest.mark.parametrize(("values", "bits", "bias"), [("signed", 47, True), ("unsigned", 46, False)])
def test_a_leak_needs_a_membrane_that_its_products_fit(values, bits, bias):
    chip = profile.load("generic8").replace(membrane_bits=bits, membrane_values=values, threshold_bits=bits - 1)
    leaky, wide = build(decay=0.9, bias=bias), chip.replace(membrane_bits=bits + 1)
    assert em.check(leaky, chip).fits and em.quantize(leaky, chip).engine() and em.check(build(bias=bias), wide).fits
    assert any("decay 0.9 needs a membrane" in text for text, _ in found(leaky, wide))
    with pytest.raises(em.CannotQuantize, match="decay"):
        em.quantize(leaky, wide)
