"""The monitor and the statistics of layers, against what the layers return, and against numbers worked out by hand."""

import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from firstspike import SpikeTimes, encode, inspect, models, nn, profile
from firstspike.inspect import HISTOGRAM_EDGES, Monitor, layer_current, layer_signals


def net(spec="4C3-AP2-6C3-8-3", **options):
    options = {"input_shape": (1, 4, 4), "steps": 5, "generator": torch.Generator().manual_seed(0)} | options
    return models.build(spec, **options)


X = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("readout", ["membrane", "twd-exp", "first-spike"])
@pytest.mark.parametrize("encoder", ["direct", "latency"])
@pytest.mark.parametrize("pooling", ["avg", "earliest"])
def test_what_is_seen_is_what_the_net_does(readout, encoder, pooling):
    model = net(readout=readout, encoder=encoder, pooling=pooling)
    with Monitor(model) as seen:
        scores = model(X)
    observed = model.observe(X)
    firing = [spikes for name, spikes in seen.times.items() if isinstance(seen.layers[name].module, nn.FiringLayer)]
    assert len(firing) == len(observed.layers)
    assert all(torch.equal(a.times, b.times) for a, b in zip(firing, observed.layers, strict=True))
    assert torch.equal(seen.scores, scores) and torch.equal(seen.decision_step, observed.decision_step)
    assert seen.steps == 5 and not seen.scores.requires_grad
    assert next(iter(seen.layers)) == ("encoder" if encoder == "latency" else "layers.0")
    if readout == "membrane":
        assert torch.equal(seen.layers["layers.4" if pooling == "earliest" else "layers.3"].membrane, observed.membrane)


def test_the_table_counts_what_fires():
    model = nn.TTFSLinear(2, 3, steps=4, bias=False, affine=None)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 0.1]]))
    spikes = SpikeTimes(torch.tensor([[1, 3], [255, 2]], dtype=torch.uint8), 4)
    with Monitor(model) as seen:
        model(spikes)
    (row,) = seen.table().to_dict("records")
    # sample 0: times 1, 3, silent; sample 1: silent, 2, silent
    assert row["layer"] == "" and row["kind"] == "TTFSLinear" and row["neurons"] == 3
    assert row["firing"] == 0.5 and row["silent"] == pytest.approx(1 / 3) and row["spikes"] == 1.5
    assert row["mean_step"] == 2.0 and math.isnan(row["gradient"])


def test_the_table_has_the_gradient_of_a_backward_pass_and_the_currents():
    model = net()
    with Monitor(model, with_currents=True) as seen:
        F.cross_entropy(model(X), torch.zeros(6, dtype=torch.long)).backward()
    table = seen.table().set_index("layer")
    weights = {name: p.grad.norm() for name, p in model.named_parameters() if name.endswith("weight")}
    assert table["gradient"].tolist() == pytest.approx([float(norm) for norm in weights.values()])
    assert math.isnan(table["firing"].iloc[-1]) and table["neurons"].tolist() == [64, 24, 8, 3]
    first, second = model.layers[0], model.layers[1]
    weight, bias = first.effective_weight_and_bias()
    assert torch.allclose(seen.currents["layers.0"], F.conv2d(X, weight, bias, padding=1), atol=1e-6)
    assert seen.currents["layers.1"].shape == (5, 6, *second(first(X)).shape[1:])
    assert table["current_sd"].iloc[1] == pytest.approx(float(seen.currents["layers.1"].std(correction=0)))
    assert Monitor(model).with_currents is False


def test_a_chain_of_any_modules_is_watched_and_passed_on_spikes_count_once():
    class Double(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Sequential(nn.TTFSLinear(16, 8, steps=5))
            self.node = nn.TTFSNode()

        def forward(self, x):
            return self.node(self.inner(x).dense())

    model = Double()
    with Monitor(model) as seen:
        out = model(encode.latency(X.flatten(1), 5))
    assert list(seen.layers) == ["inner.0", "node"]
    assert torch.equal(seen.times["node"].dense(), out)
    assert seen.scores is None and seen.readout is None and seen.decision_step is None


def test_the_last_forward_pass_of_the_block_is_kept_and_none_after_it():
    model = net()
    with Monitor(model) as seen:
        model(X)
        model(X[:2])
    model(X)
    assert {len(layer.received) for layer in seen.layers.values()} == {2}


def test_spikes_in_another_shape_count_once():
    inner = torch.nn.Sequential(nn.TTFSConv2d(1, 2, 3, steps=5), torch.nn.Flatten())
    model = torch.nn.Sequential(torch.nn.Flatten(2), torch.nn.Unflatten(2, (4, 4)), nn.LatencyEncoder(5), inner)
    model.append(nn.TTFSLinear(8, 3, steps=5))
    with Monitor(model) as seen:
        model(X)
    assert list(seen.layers) == ["2", "3.0", "4"] and seen.readout_steps is None
    assert [layer.kind for layer in seen.layers.values()] == ["LatencyEncoder", "TTFSConv2d", "TTFSLinear"]


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


def test_a_frozen_layer_has_no_gradient():
    net = models.mlp("6-5-3", steps=4)
    net.layers[0].weight.requires_grad_(False)
    rows = layer_signals(net, torch.rand(4, 6), torch.tensor([0, 1, 2, 0]))
    assert rows[0]["gradient"] is None and rows[1]["gradient"] > 0


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


STEPS = 6


class Shared(torch.nn.Module):
    """Calls one layer twice, and has an unused one in front; with `unrolled` it has a copy for each call."""

    def __init__(self, unrolled=False):
        super().__init__()
        torch.manual_seed(0)
        self.unused = nn.TTFSLinear(3, 3, steps=STEPS)
        self.first = nn.DirectLinear(16, 8, steps=STEPS)
        self.hidden = nn.TTFSLinear(8, 8, steps=STEPS)
        self.last = nn.Integrate(8, 3, steps=STEPS)
        self.again = nn.TTFSLinear(8, 8, steps=STEPS) if unrolled else self.hidden
        self.again.load_state_dict(self.hidden.state_dict())
        self.readout = nn.MembraneReadout()

    def forward(self, x):
        return self.readout(self.last(self.again(self.hidden(self.first(x)))))


def test_every_run_is_in_the_profile():
    x = torch.rand(50, 16)
    shared, unrolled = profile(Shared(), x, batch=20), profile(Shared(unrolled=True), x, batch=20)
    assert shared["layer"].tolist() == ["first", "hidden", "hidden#2", "last", "total"]
    pd.testing.assert_frame_equal(shared.drop(columns="layer"), unrolled.drop(columns="layer"))


def test_a_monitor_keeps_every_run():
    x = torch.rand(5, 16)
    net, unrolled = Shared(), Shared(unrolled=True)
    for _ in range(2):
        with inspect.Monitor(net, with_currents=True) as seen, inspect.Monitor(unrolled, with_currents=True) as expected:
            for _ in range(2):  # the last pass counts
                net(x), unrolled(x)
        assert list(seen.layers) == ["first", "hidden", "hidden#2", "last"] == list(seen.currents)
        assert torch.equal(seen.times["hidden#2"].times, expected.times["again"].times)
        assert torch.equal(seen.currents["hidden#2"], expected.currents["again"])
        assert seen.layers["hidden#2"].received.times.equal(seen.times["hidden"].times)


def test_a_pass_that_fails_ends():
    net, x = Shared(), torch.rand(5, 16)
    with inspect.Monitor(net) as seen:
        with pytest.raises(ValueError, match="x must"):
            net(torch.rand(5, 15))
        for _ in range(2):
            net.hidden(net.first(x))
    assert list(seen.layers) == ["first", "hidden"]
