"""What `to_nir` makes of chains of one's own."""

from __future__ import annotations

import pytest
import torch

from firstspike import SpikeTimes, nn

pytest.importorskip("nir")
from firstspike.nir import from_nir, to_nir  # needs nir


def test_layers_that_occur_twice_and_chains_within_chains_are_written():
    twice, last = nn.TTFSLinear(8, 8, steps=4), nn.TTFSLinear(8, 3, steps=4)
    chain = torch.nn.Sequential(torch.nn.Sequential(twice, twice), torch.nn.Identity(), last)
    graph = to_nir(chain)
    assert [name for name in graph.nodes if name.endswith("neurons")] == [
        "layer0_neurons",
        "layer1_neurons",
        "layer2_neurons",
    ]
    spikes = SpikeTimes(torch.randint(0, 4, (6, 8), dtype=torch.uint8), 4)
    assert torch.equal(from_nir(graph)(spikes).times, chain(spikes).times)


def test_a_block_of_fully_connected_layers_on_maps_is_refused():
    chain = torch.nn.Sequential(nn.TTFSConv2d(1, 1, 1, steps=4), nn.Residual([nn.TTFSLinear(16, 16, steps=4)]))
    with pytest.raises(
        ValueError, match="a residual block whose layers are fully connected takes flat spikes, but gets maps"
    ):
        to_nir(chain, input_shape=(1, 4, 4))
