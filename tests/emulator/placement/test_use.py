"""How full the cores are: shares of what the cores count in, and None where a limit is unknown."""

from __future__ import annotations

import pytest
import torch

from firstspike import emulator as em
from firstspike.emulator.placement.matching import neuron_entries
from firstspike.emulator.placement.placer import place, use
from firstspike.emulator.program.profile import CoreKind
from firstspike.spikes import SpikeTimes

from .test_placer import conv, cores, linear, program


def test_shares_of_the_fullest_core():
    """5 of 8 neurons and 4 of 8 on two cores; 8-bit weights of 10 inputs: 400 of 1000 bits."""
    layers = [linear(10, 5), linear(5, 4, "b")]
    found = use(place(program(layers, cores=cores(neurons=5, synapse_bits=1000))))
    assert found["fullest_core_neurons"] == 1.0 and found["fullest_core_memory"] == 0.4


def test_an_unknown_limit_gives_no_share():
    made = program([linear(10, 4)], cores=(CoreKind(1),))
    placed = place(made)
    found = use(placed)
    assert found["fullest_core_neurons"] is None and found["fullest_core_memory"] is None
    report = em.report(em.run(made, SpikeTimes(torch.zeros(1, 10, dtype=torch.uint8), 4)), placement=placed)
    assert report.summary()["fullest_core_neurons"] is None
    assert "fullest core, share of its neurons: unknown" in report.text()
    assert '"fullest_core_memory": null' in report.to_json()


def test_the_fullest_core_is_one_whose_limit_is_known():
    kinds = (CoreKind(1, neurons=4), CoreKind(1, synapse_bits=1000))
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
    axes = place(program([linear(10, 7)], cores=cores(neurons=5))).figure().axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([100, 40])
    assert [text.get_text() for text in axes.texts] == ["unknown"] * 4  # of synapse memory and of axons in
