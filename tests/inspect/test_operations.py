"""Operations and costs per sample, against numbers counted by hand."""

import math

import pytest
import torch

import firstspike
from firstspike import SpikeTimes, emulator, encode, energy, inspect, models, nn
from firstspike.energy import EnergyTable
from firstspike.inspect import Monitor, synaptic_operations

from ..samples import Rescaled


def draw(seed):
    return torch.Generator().manual_seed(seed)


def sums(net, x, **options):
    layers = inspect.counts(net, x, **options)
    updates = sum(layer.active + layer.idle for layer in layers)
    return {"additions": sum(layer.additions for layer in layers), "macs": sum(layer.direct_macs for layer in layers)} | {
        "updates": updates
    }


def test_counts_of_a_net():
    model = models.build("4C3-AP2-3", input_shape=(1, 4, 4), steps=5, generator=torch.Generator().manual_seed(0))
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    spikes = model.observe(x).layers[0]
    macs = (4 * 4 + 8 * 6 + 4 * 9) * 4  # corners, edges, inner pixels
    additions = float(spikes.count().sum()) / 6 * 3
    assert sums(model, x) == {"additions": pytest.approx(additions), "macs": macs, "updates": 5 * (4 * 16 + 3)}


def test_counts_of_a_relu_net():
    model = models.relu_counterpart("4C3-AP2-3", input_shape=(1, 4, 4))
    ones, macs = inspect.counts(model, torch.ones(3, 1, 4, 4), batch=2), [(16 + 48 + 36) * 4, 16 * 3]
    assert [layer.macs for layer in ones] == [layer.direct_macs for layer in ones] == macs
    assert [(layer.kind, layer.neurons) for layer in ones] == [("convolution", 64), ("linear", 3)]
    assert ones[0].nonzero_macs == 400 and ones[1].nonzero_macs <= 48
    zeros = inspect.counts(model, torch.zeros(2, 1, 4, 4))
    assert zeros[0].nonzero_macs == 0 and sums(model, torch.ones(2, 1, 4, 4))["updates"] == 0
    assert energy.accounts(ones).total == pytest.approx(energy.relu(ones)) == pytest.approx(1.55 * sum(macs) / 1e3)
    assert energy.relu(zeros, skip_zeros=True) < energy.relu(ones, skip_zeros=True)
    assert firstspike.profile(model, torch.ones(2, 1, 4, 4))["kind"].tolist() == ["Conv2d", "Linear", ""]
    twin = models.build("4C3-AP2-3", input_shape=(1, 4, 4), steps=5)
    assert [layer.macs for layer in inspect.counts(twin, torch.ones(2, 1, 4, 4))] == macs


def test_counts_of_a_net_of_windows():
    model = models.build("4C3-AP2-3", input_shape=(1, 4, 4), steps=5, timing="windowed", input_steps=9).eval()
    fired = float(model.observe(torch.ones(2, 1, 4, 4)).layers[0].count().sum())
    additions = (16 + 48 + 36) * 4 + fired / 2 * 3
    expected = {"additions": additions, "macs": 0, "updates": (9 + 5) * 4 * 16 + 5 * 3}
    assert sums(model, torch.ones(2, 1, 4, 4)) == expected


def test_updates_of_windows_are_the_emulators():
    net, images = models.load_pretrained("digits-windowed"), torch.arange(20 * 64).mul(37).remainder(256).byte().view(20, 1, 8, 8)
    ran = emulator.report(emulator.run(emulator.quantize(net, "generic8"), images)).layers()
    found = firstspike.profile(net, images).iloc[:-1]
    for ours, theirs in (("updates", "updates_active"), ("idle_updates", "updates_inactive")):
        assert found[ours].tolist() == pytest.approx(ran[theirs].tolist(), rel=0.02, abs=1)


def test_groups_are_those_of_the_convolutions():
    net = models.build("4C3-SP2-6C3-5", input_shape=(1, 8, 8), steps=8, timing="windowed").eval()
    images = torch.arange(256).byte().view(4, 1, 8, 8)
    ran = emulator.counts(emulator.run(emulator.quantize(net, "generic8"), images))
    assert [layer.groups for layer in inspect.counts(net, images)] == [layer.groups for layer in ran] == [1, 4, 1, 1]


def test_what_is_given_by_name_counts_as_well():
    class Net(torch.nn.Module):
        def __init__(self, call):
            super().__init__()
            self.first, self.second = (nn.TTFSLinear(n, 5, steps=4, normalization=True, generator=draw(n)) for n in (6, 5))
            self.call = call

        def forward(self, x):
            return self.call(self.second, self.first(x))

    x = encode.latency(torch.rand(4, 6, generator=draw(0)), steps=4)
    alone, placed, named = (
        sums(Net(call), x)
        for call in (
            lambda second, h: second(h),
            lambda second, h: second(h, h),
            lambda second, h: second(shortcut=h, spikes=h),
        )
    )
    assert named == placed and placed["additions"] > alone["additions"]


def test_a_normalisation_is_no_layer_of_products():
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(1), nn.DirectConv2d(1, 2, 3, steps=4), torch.nn.Identity())
    assert sums(net, torch.rand(2, 1, 4, 4))["macs"] == 2 * 9 * 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"groups": 4}, 324),
        ({"dilation": 2}, 144),
        ({"groups": 2, "padding": "same", "dilation": (1, 2)}, None),
        ({"stride": 2, "padding": 1}, None),
    ],
)
def test_products_of_a_convolution_of_torch_are_its_sum_with_ones_as_weights(options, expected):
    layer, events = torch.nn.Conv2d(4, 4, 3, bias=False, **options), torch.ones(1, 4, 5, 5)
    torch.nn.init.ones_(layer.weight)
    found = synaptic_operations(events, layer)
    assert found == float(layer(events).sum().detach()) and expected in (None, found)


TABLE = EnergyTable(
    name="by hand",
    title="t",
    source="s",
    note="n",
    synaptic_operation_pj=1000,
    update_active_pj=100,
    update_inactive_pj=10,
    spike_pj=1,
    host_mac_pj=2000,
)


def rows(frame):
    return frame.set_index("layer").to_dict("index")


def test_a_layer_whose_counts_are_known():
    layer = nn.TTFSLinear(3, 2, steps=4, bias=False, affine=None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 1.0, 1.0], [0.1, 0.1, 0.1]]))
    # sample 0: events in the steps 0 and 2 (two of them); sample 1: none
    spikes = SpikeTimes(torch.tensor([[0, 2, 2], [255, 255, 255]], dtype=torch.uint8), 4)
    found = rows(firstspike.profile(layer, spikes, TABLE))[""]
    assert found["synaptic_operations"] == 3 * 2 / 2 and found["spikes"] == 0.5 and found["neurons"] == 2
    # the first neuron fires in step 0: the later events change the second alone
    assert found["updates"] == (2 + 1) / 2 and found["idle_updates"] == (2 * 4 * 2 - 3) / 2
    assert found["macs"] == 0 and found["dense_macs"] == 6
    updates = 1.5 * 0.1 + 6.5 * 0.01
    assert found["synapses_nj"] == 3 and found["updates_nj"] == pytest.approx(updates)
    assert found["energy_nj"] == pytest.approx(3 * 1.0 + updates + 1.5 * 0.001) and found["dense_energy_nj"] == 12


@pytest.mark.parametrize("place", [0, 2])
def test_events_that_pooling_crops_update_nothing(place):
    """Windows of 2 x 2 leave out the last row and column of 3 x 3."""
    times = torch.full((1, 1, 3, 3), 255, dtype=torch.uint8)
    times[0, 0, place, place] = 1
    layer = nn.TTFSLinear(1, 5, steps=4, avg_pool=2)
    found, reached = rows(firstspike.profile(layer, SpikeTimes(times, 4)))[""], 5.0 * (place == 0)
    assert found["synaptic_operations"] == found["updates"] == reached
    assert found["idle_updates"] == 5 * 4 - reached


def test_neurons_that_a_shortcut_alone_reaches_are_updated():
    """By hand: a kernel of 1 x 1 with a stride of 2 reaches one place; a shortcut reaches 3 neurons, one of them there."""
    layer = nn.TTFSConv2d(2, 3, 1, stride=2, steps=4, threshold=100.0)  # nothing fires
    times, side = torch.full((1, 2, 4, 4), 255, dtype=torch.uint8), torch.full((1, 2, 2, 2), 255, dtype=torch.uint8)
    times[0, 0, 0, 0] = times[0, 1, 1, 1] = 1  # the second lies between the places
    side[0, 0, 0, 0], side[0, 1, 0, 0], side[0, 1, 1, 1] = 1, 2, 1
    spikes, shortcut = SpikeTimes(times, 4), SpikeTimes(side, 4)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x, shortcut)

    found = rows(firstspike.profile(Net(), spikes))["layer"]
    assert found["updates"] == 3 + 2 and found["synaptic_operations"] == 3 + 3
    assert found["idle_updates"] == 3 * 2 * 2 * 4 - 5


def test_a_net_and_its_total():
    model = models.build("4C3-AP2-3", input_shape=(1, 4, 4), steps=5, generator=torch.Generator().manual_seed(0))
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    frame = firstspike.profile(model, x, TABLE, batch=2)
    found = rows(frame)
    first, last, total = found.values()
    relu_first = (4 * 4 + 8 * 6 + 4 * 9) * 4
    until_spike = float((model.layers[0](x).times.double() + 1).clamp(max=5).flatten(1).sum(1).mean())
    assert first["macs"] == first["dense_macs"] == relu_first
    assert first["updates"] == pytest.approx(until_spike) and first["idle_updates"] == pytest.approx(64 * 5 - until_spike)
    assert last["dense_macs"] == 16 * 3 and last["spikes"] == 0
    observed = model.observe(x)
    assert first["spikes"] == pytest.approx(float(observed.spikes().double().mean()))
    assert last["synaptic_operations"] == pytest.approx(first["spikes"] * 3)
    for name in ("spikes", "macs", "dense_macs", "updates", "energy_nj"):
        assert total[name] == pytest.approx(first[name] + last[name])
    assert total["latency"] == 5 and math.isnan(first["latency"]) and list(found) == ["layers.0", "layers.1", "total"]
    assert all(name in str(frame) for name in frame.columns)  # nothing is cut off
    assert model.training  # as it was


def test_updates_are_those_that_the_cores_count():
    """Also of a residual block and of dense trains after max pooling, a neuron that has fired is not changed any more."""
    draw = torch.Generator().manual_seed(0)
    options = {"encoder": "latency", "readout": "first-spike", "generator": draw}
    net = models.build("16-12-R(12-12)-3", input_shape=(16,), steps=6, **options)
    x = torch.rand(20, 16, generator=torch.Generator().manual_seed(1))
    ran = emulator.run(emulator.quantize(net), x)
    found = firstspike.profile(net, x)["updates"].tolist()[:-1]
    assert found == pytest.approx(ran.count("active").mean(0).tolist(), rel=0.05)
    layer = nn.TTFSLinear(16, 8, steps=6, threshold=0.2, generator=draw)

    class Dense(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, spikes):
            return self.layer(spikes.dense())

    spikes = encode.latency(x, 6)
    ours, trains = (firstspike.profile(net, spikes)["updates"].tolist() for net in (layer, Dense()))
    assert ours == pytest.approx(trains) and 0 < ours[0] < 8 * 6


@pytest.mark.parametrize("stride", ["", "s2"])
def test_a_shortcut_costs_an_addition_per_spike_that_it_brings(stride):
    spec = f"4C3-R(4C3{stride}-4C3)-3"
    model = models.build(spec, input_shape=(1, 4, 4), steps=5, generator=torch.Generator().manual_seed(0))
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    found = rows(firstspike.profile(model, x))
    with Monitor(model) as seen, torch.no_grad():
        model(x)
    name = next(name for name, layer in seen.layers.items() if layer.shortcut is not None)
    before = seen.layers["layers.0"].spikes
    places = before.silent[:, :, ::2, ::2] if stride else before.silent
    alone = synaptic_operations((~seen.layers[name].received.silent).float(), seen.layers[name].module)
    assert found[name]["synaptic_operations"] == pytest.approx((alone + float((~places).sum())) / 3)


def convolution_and_linear():
    """By hand: 2 events reach 2 neurons each, of which one fires; those 2 spikes reach 3 neurons, which fire at the second."""
    net = torch.nn.Sequential(
        nn.TTFSConv2d(1, 2, 1, steps=4, bias=False, affine=None), nn.TTFSLinear(8, 3, steps=4, bias=False, affine=None)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([2.0, 0.1]).view(2, 1, 1, 1))
        net[1].weight.fill_(0.6)
    return net, SpikeTimes(torch.tensor([[[[0, 1], [255, 255]]]], dtype=torch.uint8), 4)


def test_messages_neurons_that_fire_and_convolutions_have_their_figures():
    frame = firstspike.profile(*convolution_and_linear(), "loihi-sanafe")
    first, last, total = rows(frame).values()
    assert (first["synaptic_operations"], first["updates"], first["spikes"]) == (4, 4, 2)
    assert (last["synaptic_operations"], last["updates"], last["spikes"]) == (6, 6, 3)
    assert (first["idle_updates"], last["idle_updates"]) == (28, 6)
    assert first["energy_nj"] == pytest.approx((4 * 24.0 + 4 * 72.8 + 28 * 51.2 + 2 * (111.0 + 69.3)) / 1e3)
    assert last["energy_nj"] == pytest.approx((6 * 35.5 + 6 * 72.8 + 6 * 51.2 + 2 * 111.0 + 3 * 69.3) / 1e3)
    assert total["energy_nj"] == pytest.approx(first["energy_nj"] + last["energy_nj"])
    assert "convolution" not in frame.columns


@pytest.mark.parametrize(("steps", "after"), [(12, 4), (4, 12)])
def test_the_latency_is_that_of_the_readout(steps, after):
    net = Rescaled(nn.DirectLinear(3, 2, steps=steps), nn.TTFSLinear(2, 2, steps=after), nn.FirstSpike())
    assert firstspike.profile(net, torch.rand(5, 3))["latency"].iloc[-1] == after
