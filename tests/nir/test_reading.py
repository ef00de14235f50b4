"""Graphs of others: thresholds that whole weights just do not reach, and edges to nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import emulator, nn

nir = pytest.importorskip("nir")

from firstspike.nir import from_nir  # noqa: E402  # needs nir

from .test_exchange import chain, integrate, spikes  # noqa: E402


@pytest.mark.filterwarnings("ignore::firstspike.nir.reading.FiresOnce")
@pytest.mark.parametrize("profile", ["generic8", "loihi-like"])
def test_whole_weights_fire_above_the_threshold_on_cores_too(profile):
    draw = np.random.default_rng(0)
    weights = [draw.integers(-1, 2, (20, 12)).astype(float), draw.integers(-2, 3, (5, 20)).astype(float)]
    nodes = [nir.Linear(weights[0]), integrate(20, 2.0), nir.Linear(weights[1]), integrate(5, 1.0)]
    net = torch.nn.Sequential(*from_nir(chain(*nodes, shape=(12,)), 6), nn.FirstSpike()).eval()
    x = spikes(200, 12)
    ran = emulator.run(emulator.quantize(net, profile), x, trace=200)
    for n, expected in enumerate((net[0](x), net[1](net[0](x)))):
        times, start = ran.trace[f"times.{n}"].astype(int), ran.program.layers[n].start
        assert (np.where(times == 255, 255, times - start) == expected.times.numpy()).all()


@pytest.mark.filterwarnings("ignore::firstspike.nir.reading.FiresOnce")
def test_a_convolution_that_is_not_read_is_named():
    conv = nir.Conv2d((6, 6), np.ones((2, 1, 3, 3)), 1, 0, 2, 1, np.zeros(2))
    with pytest.raises(ValueError, match="node n0: dilation and groups must be 1"):
        from_nir(chain(conv, nir.IF(np.ones((2, 2, 2)), np.ones((2, 2, 2)), np.zeros((2, 2, 2))), shape=(1, 6, 6)), 4)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_threshold_that_is_no_number_names_its_node(value):
    with pytest.raises(ValueError, match="node n1: v_threshold must be finite"):
        from_nir(chain(nir.Linear(np.array([[1.0, 2.0]])), integrate(1, value)), 4)


@pytest.mark.filterwarnings("ignore::firstspike.nir.reading.FiresOnce")
def test_an_edge_to_no_node_is_named():
    graph = chain(nir.Linear(np.array([[1.0, 2.0]])), integrate(1, 2.0))
    graph.edges[-1] = ("n1", "outptu")
    with pytest.raises(
        ValueError, match="node outptu: the edge from n1 to outptu names it, and it is not in the graph"
    ):
        from_nir(graph, 4)
