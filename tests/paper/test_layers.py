"""Operations and layer statistics, against numbers counted by hand."""

import math

import pytest
import torch
from paper.diagnose import EDGES, diagnose
from paper.operations import Counter, products

from firstspike import SpikeTimes, models, nn


def test_products_of_a_convolution_leave_out_the_padding():
    layer = nn.TTFSConv2d(2, 5, 3, steps=4, padding=1)
    events = torch.zeros(1, 2, 4, 4)
    events[0, 0, 0, 0] = 1  # a corner reaches 2 x 2 outputs, an inner pixel 3 x 3; 5 channels each
    assert products(events, layer) == 4 * 5
    events[0, 1, 1, 2] = 1
    assert products(events, layer) == (4 + 9) * 5


def test_products_of_pooled_input_count_every_event():
    layer = nn.TTFSLinear(2 * 2 * 2, 3, steps=4, avg_pool=2)
    assert products(torch.ones(1, 2, 4, 4), layer) == 2 * 16 * 3


def test_counts_of_a_net():
    model = models.build("4C3-AP2-3", input_shape=(1, 4, 4), steps=5, generator=torch.Generator().manual_seed(0))
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    with Counter(model) as count, torch.no_grad():
        model(x)
        spikes = model.observe(x).layers[0]
    means = count.means()
    assert count.samples == 12
    assert means["macs"] == (4 * 4 + 8 * 6 + 4 * 9) * 4  # corners, edges, inner pixels
    assert means["additions"] == pytest.approx(float(spikes.count().sum()) / 6 * 3)
    assert means["updates"] == 5 * (4 * 16 + 3)
    with torch.no_grad():
        model(x)
    assert count.samples == 12  # it counts inside `with` only


def test_counts_of_a_relu_net():
    model = models.relu_twin("4C3-AP2-3", input_shape=(1, 4, 4))
    with Counter(model) as count, torch.no_grad():
        model(torch.ones(2, 1, 4, 4))
    assert count.means() == {"additions": 0, "macs": (16 + 48 + 36) * 4 + 16 * 3, "updates": 0}


def test_statistics_of_a_layer_whose_currents_are_known():
    model = models.build("2-2-2", input_shape=(2,), steps=2, normalization=False, affine=None)
    first, second = model.layers
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.5]]))
        second.weight.copy_(torch.tensor([[3.0, 1.0], [-3.0, 1.0]]))
    rows = diagnose(model, torch.tensor([[1.0, 1.0]]), torch.tensor([0]))
    # direct coding: I = (1, 0.5) in both steps, so the neurons fire in step 0 and 1
    assert rows[0]["current_mean"] == 0.75 and rows[0]["current_sd"] == 0.25 and rows[0]["firing"] == 1.0
    # the output current is (3, -3) in step 0 and (1, 1) in step 1; then V = (4, -2)
    assert rows[1]["current_mean"] == pytest.approx(0.5) and rows[1]["current_sd"] == pytest.approx(math.sqrt(4.75))
    assert rows[1]["firing"] is None
    # dL/dV = softmax - target, times each input's spike (weights of both steps count once)
    slope = 1 / (1 + math.exp(6))
    assert rows[1]["gradient"] == pytest.approx(slope, rel=1e-4)
    assert sum(rows[1]["histogram"]) == pytest.approx(1)
    bins = {round(float(EDGES[i]), 3): share for i, share in enumerate(rows[1]["histogram"]) if share}
    assert bins == {-3.125: 0.25, 0.875: 0.5, 2.875: 0.25}  # an edge belongs to the bin below it
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("pooling", ["avg", "max", "earliest"])
def test_statistics_of_every_pooling(pooling):
    model = models.build("4C3-AP2-4C3-AP2-3", input_shape=(1, 8, 8), steps=3, pooling=pooling, readout="twd-exp")
    rows = diagnose(model, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))
    assert [row["layer"] for row in rows] == ["DirectConv2d", "TTFSConv2d", "TTFSLinear"]
    with torch.no_grad(), Counter(model) as count:
        spikes = model.observe(torch.rand(2, 1, 8, 8)).layers
    assert isinstance(spikes[0], SpikeTimes) and count.additions > 0 and count.samples == 2
