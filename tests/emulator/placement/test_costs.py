"""What a range of neurons needs, against the explicit synapse matrix."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from firstspike.emulator.placement.costs import Costs
from firstspike.emulator.program.layers import Layer, Register, Shortcut

from .. import golden
from .test_placer import conv


@given(st.data())
def test_needs_of_ranges_are_those_of_an_unrolled_table(data):
    """Axons, synapses and thresholds of any range of neurons, against the explicit synapse matrix."""
    side, channels = data.draw(st.integers(3, 8)), data.draw(st.integers(1, 3))
    kernel, stride, pad = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4)), data.draw(st.integers(0, 2))
    pool = data.draw(st.integers(1, 2))
    pooled = side // pool
    if pooled + 2 * pad < kernel:
        return
    out = (pooled + 2 * pad - kernel) // stride + 1
    theta = np.array(data.draw(st.lists(st.integers(1, 3), min_size=channels, max_size=channels)))
    layer = Layer(
        "a",
        "conv",
        np.ones((2, kernel, kernel, channels), np.int8),
        theta,
        np.zeros(channels, np.int64),
        (side, side, 2),
        (out, out, channels),
        Register.of(20),
        Register.of(20),
        pool=pool,
        stride=(stride, stride),
        padding=(pad, pad),
        scale=np.ones(channels),
    )
    _, synapses = golden.unroll(layer)
    costs = Costs(layer, 0, shared=False)
    first = data.draw(st.integers(0, layer.neurons - 1))
    last = data.draw(st.integers(first + 1, layer.neurons))
    part = synapses[:, first:last]
    assert layer.fan_in == synapses.sum(0).max()
    assert costs.sources(first, last).count() == part.any(1).sum()
    sites = synapses.reshape(side, side, 2, -1)[::pool, ::pool][:pooled, :pooled].reshape(pooled * pooled * 2, -1)
    assert costs.synapses(first, last) == sites[:, first:last].sum()
    assert costs.thetas(first, last) == {int(theta[n % channels]) for n in range(first, last)}


@given(st.data())
def test_needs_of_ranges_with_a_shortcut(data):
    """From another source it brings axons of its own, from the layer's own source it does not; a synapse in both cases."""
    side, channels = data.draw(st.integers(2, 5)), data.draw(st.integers(2, 4))
    into, stride = data.draw(st.integers(1, channels)), data.draw(st.integers(1, 2))
    own = data.draw(st.booleans())
    source, index = (0, 1) if own else (-1, 1)
    sources = side * stride
    layer = conv(sources, into, channels, stride=(stride, stride), out_shape=(side, side, channels))
    made = Shortcut(source, (sources, sources, into), np.full(into, 3, np.int8), (stride, stride))
    layer = replace(layer, shortcut=made)
    _, synapses = golden.unroll(layer)
    _, beside = golden.unroll_shortcut(layer)
    costs, first = Costs(layer, index, shared=False), data.draw(st.integers(0, layer.neurons - 1))
    last = data.draw(st.integers(first + 1, layer.neurons))
    part, more = synapses[:, first:last], beside[:, first:last]
    assert costs.synapses(first, last) == part.sum() + more.sum()
    found = costs.sources(first, last)
    expected = (part | more).any(1).sum() if own else part.any(1).sum() + more.any(1).sum()
    assert found.count() == expected
    np.testing.assert_array_equal(found.neurons(0), (part | more).any(1) if own else part.any(1))
    shared = Costs(layer, index, shared=True)
    assert shared.synapses(first, last) == layer.weight.size + into == layer.stored_weights
    assert layer.synapses == synapses.sum() + beside.sum()
    assert layer.fan_in == (synapses.sum(0) + beside.sum(0)).max()
