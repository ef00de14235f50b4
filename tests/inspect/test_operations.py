"""Operations per sample, against numbers counted by hand."""

import pytest
import torch

from firstspike import SpikeTimes, encode, models, nn
from firstspike.inspect import Monitor, OperationCounter, synaptic_operations


def test_products_of_a_convolution_leave_out_the_padding():
    layer = nn.TTFSConv2d(2, 5, 3, steps=4, padding=1)
    events = torch.zeros(1, 2, 4, 4)
    events[0, 0, 0, 0] = 1  # a corner reaches 2 x 2 outputs, an inner pixel 3 x 3; 5 channels each
    assert synaptic_operations(events, layer) == 4 * 5
    events[0, 1, 1, 2] = 1
    assert synaptic_operations(events, layer) == (4 + 9) * 5


def test_products_of_pooled_input_count_every_event():
    layer = nn.TTFSLinear(2 * 2 * 2, 3, steps=4, avg_pool=2)
    assert synaptic_operations(torch.ones(1, 2, 4, 4), layer) == 2 * 16 * 3


def test_counts_of_a_net():
    model = models.build("4C3-AP2-3", input_shape=(1, 4, 4), steps=5, generator=torch.Generator().manual_seed(0))
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    with OperationCounter(model) as count, torch.no_grad():
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
    model = models.relu_counterpart("4C3-AP2-3", input_shape=(1, 4, 4))
    with OperationCounter(model) as count, torch.no_grad():
        model(torch.ones(2, 1, 4, 4))
    assert count.means() == {"additions": 0, "macs": (16 + 48 + 36) * 4 + 16 * 3, "updates": 0}


def test_counts_of_a_net_of_windows():
    model = models.build("4C3-AP2-3", input_shape=(1, 4, 4), steps=5, timing="layer").eval()
    with OperationCounter(model) as count, torch.no_grad():
        model(torch.ones(2, 1, 4, 4))
        spikes = model.observe(torch.ones(2, 1, 4, 4)).layers[0]
    fired = float(spikes.count().sum())  # of four passes
    assert count.means() == {
        "additions": (16 + 48 + 36) * 4 + fired / 2 * 3,
        "macs": 0,
        "updates": (255 + 5) * 4 * 16 + 5 * 3,
    }


def test_a_layer_that_returns_its_membrane_too_counts_as_any_other():
    model = models.build("4C3-AP2-3", input_shape=(1, 4, 4), steps=5, readout="first-spike")
    with OperationCounter(model) as count, torch.no_grad():
        model(torch.rand(2, 1, 4, 4))
    assert count.samples == 2 and count.updates == 2 * 5 * (4 * 16 + 3)


def test_what_is_given_by_name_counts_as_well():
    first, second = (nn.TTFSLinear(n, 5, steps=4, normalization=True) for n in (6, 5))
    x = encode.latency(torch.rand(4, 6, generator=torch.Generator().manual_seed(0)), steps=4)

    def counted(call):
        with OperationCounter(second) as count, Monitor(second) as seen, torch.no_grad():
            call(first(x))
        return count.means(), seen.layers[""].shortcut

    expected, shortcut = counted(lambda h: second(h, h))
    assert shortcut is not None and expected["additions"] > counted(second)[0]["additions"]
    by_name = (
        lambda h: second(h, shortcut=h),
        lambda h: second(spikes=h, shortcut=h),
        lambda h: second(shortcut=h, spikes=h),
    )
    for call in by_name:
        found, shortcut = counted(call)
        assert found == expected and shortcut is not None


def test_a_normalisation_is_no_layer_of_products():
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(1), nn.DirectConv2d(1, 2, 3, steps=4), torch.nn.Identity())
    with OperationCounter(net) as count, torch.no_grad():
        net(torch.rand(2, 1, 4, 4))
    assert count.means()["macs"] == 2 * 9 * 4


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


def test_a_layer_that_runs_twice_counts_per_sample() -> None:
    layer = nn.TTFSLinear(6, 6, steps=4)
    layer.weight.data.fill_(1.0)
    net = models.TTFSNet(
        [layer, layer, nn.Integrate(6, 3, steps=4)], encoder="spikes", readout="membrane", input_shape=(6,)
    )
    with OperationCounter(net) as total:
        for _ in range(2):
            net(SpikeTimes(torch.zeros(5, 6, dtype=torch.uint8), 4))
    assert total.samples == 10 and total.means()["additions"] == 2 * 6 * 6 + 6 * 3


def test_counts_under_autocast_are_the_same():
    events = (torch.rand(3, 301, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.9).float()
    layer = nn.TTFSConv2d(301, 7, 3, padding=1, steps=6)
    expected = synaptic_operations(events, layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert synaptic_operations(events, layer) == expected
