"""Layer statistics, against numbers worked out by hand."""

import math

import pytest
import torch

from firstspike import SpikeTimes, encode, models, nn
from firstspike.inspect import HISTOGRAM_EDGES, OperationCounter, layer_current, layer_signals


def test_statistics_of_a_layer_whose_currents_are_known():
    model = models.build("2-2-2", input_shape=(2,), steps=2, normalization=False, affine=None)
    first, second = model.layers
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.5]]))
        second.weight.copy_(torch.tensor([[3.0, 1.0], [-3.0, 1.0]]))
    rows = layer_signals(model, torch.tensor([[1.0, 1.0]]), torch.tensor([0]))
    # direct coding: I = (1, 0.5) in both steps, so the neurons fire in step 0 and 1
    assert rows[0]["current_mean"] == 0.75 and rows[0]["current_sd"] == 0.25 and rows[0]["firing"] == 1.0
    # the output current is (3, -3) in step 0 and (1, 1) in step 1; then V = (4, -2)
    assert rows[1]["current_mean"] == pytest.approx(0.5) and rows[1]["current_sd"] == pytest.approx(math.sqrt(4.75))
    assert rows[1]["firing"] is None
    # dL/dV = softmax - target, times each input's spike (weights of both steps count once)
    slope = 1 / (1 + math.exp(6))
    assert rows[1]["gradient"] == pytest.approx(slope, rel=1e-4)
    assert sum(rows[1]["histogram"]) == pytest.approx(1)
    bins = {round(float(HISTOGRAM_EDGES[i]), 3): share for i, share in enumerate(rows[1]["histogram"]) if share}
    assert bins == {-3.125: 0.25, 0.875: 0.5, 2.875: 0.25}  # an edge belongs to the bin below it
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("readout", ["twd-exp", "first-spike"])
@pytest.mark.parametrize("pooling", ["avg", "max", "earliest"])
def test_statistics_of_every_pooling(pooling, readout):
    model = models.build("4C3-AP2-4C3-AP2-3", input_shape=(1, 8, 8), steps=3, pooling=pooling, readout=readout)
    rows = layer_signals(model, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))
    assert [row["layer"] for row in rows] == ["DirectConv2d", "TTFSConv2d", "TTFSLinear"]
    with torch.no_grad(), OperationCounter(model) as count:
        spikes = model.observe(torch.rand(2, 1, 8, 8)).layers
    assert isinstance(spikes[0], SpikeTimes) and count.additions > 0 and count.samples == 2


def test_a_frozen_layer_has_no_gradient():
    net = models.mlp("6-5-3", steps=4)
    net.layers[0].weight.requires_grad_(False)
    rows = layer_signals(net, torch.rand(4, 6), torch.tensor([0, 1, 2, 0]))
    assert rows[0]["gradient"] is None and rows[1]["gradient"] > 0


def test_layers_within_residual_blocks_have_rows():
    net = models.build("4C3-R(4C3-4C3)-3", input_shape=(1, 6, 6), steps=4)
    rows = layer_signals(net, torch.rand(2, 1, 6, 6), torch.tensor([0, 1]))
    assert [row["layer"] for row in rows] == ["DirectConv2d", "TTFSConv2d", "TTFSConv2d", "Integrate"]
    assert all(row["gradient"] is not None for row in rows)


def test_currents_are_in_units_of_the_threshold():
    """Twice the weight and twice the threshold is the same neuron."""
    found = []
    for factor in (1.0, 2.0):
        options = {"affine": None, "normalization": False, "threshold": factor}
        net = models.build("6-5-3", input_shape=(6,), steps=4, generator=torch.Generator().manual_seed(0), **options)
        with torch.no_grad():
            net.layers[0].weight.mul_(factor)
        x = torch.rand(4, 6, generator=torch.Generator().manual_seed(1))
        found.append(layer_signals(net, x, torch.tensor([0, 1, 2, 0])))
    (one, last), (two, other) = found
    assert last == other and one["firing"] > 0
    assert {**one, "gradient": None} == {**two, "gradient": None}


@pytest.mark.parametrize(
    "layer", [nn.TTFSLinear(36, 3, steps=4), nn.TTFSConv2d(1, 3, 3, steps=4)], ids=lambda layer: type(layer).__name__
)
def test_currents_under_autocast_are_the_same(layer):
    x = encode.latency(torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)), steps=4)
    x = x.flatten(1) if layer.weight.dim() == 2 else x
    expected = layer_current(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer_current(layer, x)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
