"""The figures under the names of NeuroBench, by hand and beside the harness on a net that both can see."""

import pytest
import torch
from torch import nn as torch_nn

from firstspike import SpikeTimes, emulator, encode, models, nn
from firstspike.inspect import counts, neurobench, profile


def test_counts_by_hand():
    layer = nn.TTFSLinear(3, 2, steps=4, bias=False, normalization=False, affine=None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0.0, 0.5], [0.0, 0.0, 0.0]]))
    found = neurobench(torch_nn.Sequential(layer), SpikeTimes(torch.tensor([[0, 1, 255], [255, 255, 2]], dtype=torch.uint8), 4))
    assert found == {
        "Footprint": sum(4 * each.numel() for each in layer.parameters()),
        "ConnectionSparsity": 4 / 6,
        "ActivationSparsity": 1 - 1 / 16,  # the first neuron of the first sample fires
        "SynapticOperations": {"Effective_MACs": 0.0, "Effective_ACs": 1.0, "Dense": 4 * 6.0},
        "MembraneUpdates": (1 + 2 + 2) / 2,  # both neurons at 0, the second one at 1; both at 2
    }


@pytest.mark.parametrize("spec", ["4C3-MP2-3", "4C3-AP2-4C3-3", "4C3-R(4C3-4C3)-3"])
@pytest.mark.parametrize("options", [{"encoder": "direct"}, {"encoder": "latency"}, {"timing": "windowed"}])
def test_agrees_with_profile_where_no_weight_is_zero(spec, options):
    net = models.build(spec, input_shape=(1, 6, 6), steps=5, **options, generator=torch.Generator().manual_seed(0))
    x = torch.rand(7, 1, 6, 6, generator=torch.Generator().manual_seed(1)) + 1e-3
    found, total = neurobench(net, x.clamp(max=1), batch=4), profile(net, x.clamp(max=1)).iloc[-1]
    layers = [layer for layer in counts(net, x.clamp(max=1)) if layer.kind != "pool"]  # pools have no weights
    beside = sum(layer.shortcut_additions for layer in layers if layer.timing == "windowed")  # nor have these shortcuts a layer
    additions = sum(layer.additions for layer in layers) - beside
    assert found["SynapticOperations"]["Effective_ACs"] == pytest.approx(additions)
    assert found["SynapticOperations"]["Effective_MACs"] == pytest.approx(total["macs"])
    assert found["SynapticOperations"]["Dense"] >= additions + total["macs"]
    assert 0 < found["ActivationSparsity"] < 1 and found["MembraneUpdates"] == pytest.approx(total["updates"])


def test_a_layer_of_windows_is_silent_in_the_windows_of_others():
    net = models.build("8-6-4", input_shape=(8,), steps=5, timing="windowed", generator=torch.Generator().manual_seed(0)).eval()
    x = torch.rand(7, 8, generator=torch.Generator().manual_seed(1))
    spikes = float(net.observe(x).layers[0].count().sum())
    figures = neurobench(net, x, batch=3)
    run = 15 + 5  # the windows of input and layer
    assert figures["ActivationSparsity"] == pytest.approx(1 - spikes / (7 * 6 * run))
    assert figures["SynapticOperations"]["Dense"] == (8 * 6 + 6 * 4) * run


def test_a_prepared_net_has_the_zeros_of_its_rounded_weights():
    net = emulator.qat.prepare(models.build("8-6-4", input_shape=(8,), steps=5, timing="windowed"), bits=2)
    rounded = [layer.effective_weight_and_bias()[0] for layer in (*net.layers, net.readout)]
    zeros = sum(int((weight == 0).sum()) for weight in rounded) / sum(weight.numel() for weight in rounded)
    assert neurobench(net, torch.rand(3, 8))["ConnectionSparsity"] == pytest.approx(zeros) and zeros > 0


def test_a_net_of_torch_is_refused():
    with pytest.raises(ValueError, match="layers of firstspike"):
        neurobench(torch_nn.Sequential(torch_nn.Linear(3, 2)), torch.rand(1, 3))


def test_the_harness_counts_the_same():
    """The same weights and spikes in a neuron of snnTorch, which the harness can see."""
    snn = pytest.importorskip("snntorch")
    pytest.importorskip("neurobench")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity, Footprint
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import SNNTorchModel

    class Once(snn.Leaky):
        """Fires in the first step at the threshold, then never again."""

        def forward(self, x):
            self.total = self.total + x
            spikes = (self.total >= 1) & ~self.fired
            self.fired = self.fired | spikes
            return spikes.float(), self.total

    class Peer(torch_nn.Module):
        def __init__(self, weights):
            super().__init__()
            self.synapses = torch_nn.ModuleList(torch_nn.Linear(*w.T.shape, bias=False) for w in weights)
            self.neurons = torch_nn.ModuleList(Once(beta=1.0) for _ in weights)
            for layer, weight in zip(self.synapses, weights, strict=True):
                layer.weight.data = weight

        def forward(self, trains):  # [B, T, N]
            for neuron in self.neurons:
                neuron.total, neuron.fired = torch.zeros(()), torch.tensor(False)
            made = []
            for x in trains.unbind(1):
                for synapses, neuron in zip(self.synapses, self.neurons, strict=True):
                    x, _ = neuron(synapses(x))
                made.append(x)
            return torch.stack(made)

    draw = torch.Generator().manual_seed(0)
    weights = [  # sums of such numbers are exact, whatever their order
        torch.randint(-3, 7, (m, n), generator=draw) / 8 * (torch.rand(m, n, generator=draw) > 0.3) for n, m in ((12, 9), (9, 5))
    ]
    ours = torch_nn.Sequential(
        *(nn.TTFSLinear(*w.T.shape, steps=6, bias=False, normalization=False, affine=None) for w in weights)
    )
    with torch.no_grad():
        for layer, weight in zip(ours, weights, strict=True):
            layer.weight.copy_(weight)
    x = encode.latency(torch.rand(20, 12, generator=draw), steps=6)
    peer = Peer(weights)
    trains = x.dense().transpose(0, 1)
    assert (peer(trains).argmax(0)[ours(x).times != 255] == ours(x).times[ours(x).times != 255]).all()
    figures = [[Footprint, ConnectionSparsity], [ActivationSparsity, SynapticOperations]]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(trains, torch.zeros(20)), batch_size=10)
    theirs = Benchmark(SNNTorchModel(peer, custom_forward=True), loader, [], [], figures).run(quiet=True)
    found = neurobench(ours, x)
    assert found["ConnectionSparsity"] == pytest.approx(theirs["ConnectionSparsity"], abs=1e-3)
    assert found["ActivationSparsity"] == pytest.approx(theirs["ActivationSparsity"])
    for name in ("Effective_MACs", "Effective_ACs", "Dense"):
        assert found["SynapticOperations"][name] == pytest.approx(theirs["SynapticOperations"][name]), name
    neurons = sum(each.numel() * each.element_size() for each in peer.neurons.buffers())  # snnTorch's own settings
    assert found["Footprint"] == theirs["Footprint"] - neurons
