"""The cost of a net's spikes beside the profile's additions; a penalty and a target in training."""

import pytest
import torch

from firstspike import data, inspect, models
from firstspike.train import Config, SpikeCost, fit

from ..samples import generator

WINDOWS = {"timing": "windowed", "steps": 8, "input_steps": 15}


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("64-40-30-10", WINDOWS),
        ("64-32-R(32-32)-10", WINDOWS),
        ("8C1-AP2-12C1-MP2-10", WINDOWS),
        ("64-40-30-10", {"steps": 8}),
        ("64-40-30-10", {"steps": 8, "readout": "first-spike"}),
        ("8C1-AP2-12C1-MP2-10", {"steps": 8}),
        ("8C1-EP2-12C1-10", {"steps": 8, "encoder": "latency"}),
    ],
)
def test_the_share_is_that_of_the_profiles_additions(spec, options):
    net = models.build(spec, input_shape=(1, 8, 8), generator=generator(0), **options).eval()
    x = torch.rand(40, 1, 8, 8, generator=generator(1))
    with SpikeCost(net) as spent:
        net(x)
    layers = [layer for layer in inspect.counts(net, x)[1:] if layer.macs]  # without the encoder's spikes, and pools
    pools = [getattr(net.get_submodule(layer.name), "avg_pool", 1) for layer in layers]
    most = sum(layer.macs * pool**2 for layer, pool in zip(layers, pools, strict=True))
    additions = sum(layer.additions - layer.shortcut_additions for layer in layers)
    assert 0 < additions < most
    assert spent.share() == pytest.approx(additions / most, rel=1e-5)
    assert 0 < spent.cost().item() < 1


def test_the_values_of_a_net_with_relu_count_whatever_their_unit():
    net = models.relu_counterpart("64-40-10", input_shape=(1, 8, 8), generator=generator(0))
    x, costs = torch.rand(20, 1, 8, 8, generator=generator(1)), []
    for factor in (1, 100):
        with torch.no_grad():
            net.layers[1].weight.mul_(factor)
        with SpikeCost(net) as spent:
            net(x)
        costs.append(spent.cost().item())
        with torch.no_grad():
            active = (net.layers[:3](x) > 0).float().mean()
        assert spent.share() == pytest.approx(active.item())
    assert costs[0] == pytest.approx(costs[1], rel=1e-5) and costs[0] > 0


def test_the_penalty_begins_where_the_config_says(sets, config):
    config = config.replace(epochs=4, timing="windowed", spec="36-40-40-4", steps=8, lr=0.01)
    plain, late, early = (
        fit(config.replace(spike_penalty=weight, spike_start=start), datasets=sets, progress=False)
        for weight, start in ((0.0, 0.5), (2.0, 0.5), (2.0, 0.0))
    )
    loss = [[epoch.train.loss for epoch in result.history] for result in (plain, late, early)]
    assert loss[0][:2] == loss[1][:2] and loss[0] != loss[1] and loss[1][0] != loss[2][0]
    spikes = [result.test.spikes_per_neuron for result in (plain, late, early)]
    assert spikes[0] > spikes[1] > spikes[2]


@pytest.mark.parametrize("options", [WINDOWS, {"steps": 4}])
def test_a_target_is_met(options):
    steered = {"spike_target": 0.1, "spike_start": 0.25}
    config = Config(data="digits", spec="64-64-64-10", epochs=20, batch=32, lr=0.005, **steered, **options)
    result = fit(config, progress=False)
    with SpikeCost(result.model) as spent:
        result.model(data.load("digits", train=False).images)
    assert spent.share() == pytest.approx(0.1, abs=0.03) and result.test.accuracy > 0.85


def test_mistakes_are_named():
    net = models.mlp("64-10-10", steps=8)
    with pytest.raises(ValueError, match="form must be one of mean, sqrt, ratio"):
        SpikeCost(net, "square")
    with pytest.raises(ValueError, match="compiled"):
        SpikeCost(torch.compile(net, backend="eager"))
    with pytest.raises(TypeError, match="net must be"):
        SpikeCost("net")
    with pytest.raises(ValueError, match="layer that gets spikes"):
        SpikeCost(net).cost()
    frozen = Config(data="digits", spec="64-10", timing="windowed", spike_penalty=0.1, epochs=1)
    with pytest.raises(ValueError, match="layer that gets spikes"):
        fit(frozen, progress=False)
