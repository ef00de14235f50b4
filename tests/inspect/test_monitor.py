"""The monitor, against what the layers return, and against numbers counted by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from firstspike import SpikeTimes, encode, models, nn
from firstspike.inspect import Monitor

from ..samples import Rescaled


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


@pytest.mark.parametrize(("steps", "after"), [(4, 12), (12, 4)])
def test_layers_over_different_steps(steps, after):
    model = Rescaled(nn.DirectLinear(16, 8, steps=steps), nn.Integrate(8, 3, steps=after), nn.MembraneReadout())
    with Monitor(model) as seen:
        model(X.flatten(1))
    assert [layer.steps for layer in seen.layers.values()] == [steps, after]
    assert seen.steps == 12 and seen.readout_steps == after


def test_spikes_in_another_shape_count_once():
    inner = torch.nn.Sequential(nn.TTFSConv2d(1, 2, 3, steps=5), torch.nn.Flatten())
    model = torch.nn.Sequential(torch.nn.Flatten(2), torch.nn.Unflatten(2, (4, 4)), nn.LatencyEncoder(5), inner)
    model.append(nn.TTFSLinear(8, 3, steps=5))
    with Monitor(model) as seen:
        model(X)
    assert list(seen.layers) == ["2", "3.0", "4"] and seen.readout_steps is None
    assert [layer.kind for layer in seen.layers.values()] == ["LatencyEncoder", "TTFSConv2d", "TTFSLinear"]
