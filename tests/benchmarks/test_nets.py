"""The sides of the comparison compute the same net, as far as their libraries can."""

import pytest
import torch
import torch.nn.functional as F
from benchmarks.nets import Setting, build, quantized_net
from benchmarks.nets.training import feed
from benchmarks.workloads import Workload

from benchmarks import inputs

TINY = {"mlp": Workload("mlp", "784-24-16-10", 3, {8: (1, 1)}), "cnn": Workload("cnn", "4C3-AP2-6C3-AP2-12-10", 3, {8: (1, 1)})}


def scores_and_gradients(setting, workload):
    batch = inputs.batch("uniform", workload.batch, 8, flat=workload.flat)
    net = build(setting, workload, 8)
    for parameter in net.parameters():  # a loss that depends on every layer: no neuron stays silent
        torch.nn.init.normal_(parameter, 0.05, 0.25, generator=torch.Generator().manual_seed(parameter.numel()))
    torch.nn.init.zeros_(parameter)  # the last bias, which SpikingJelly's last layer counts once and ours in every step
    scores = net(feed(setting.library, batch))
    F.cross_entropy(scores, batch.labels).backward()
    return scores.detach(), [parameter.grad for parameter in net.parameters()]


@pytest.mark.parametrize("decay", [1.0, 0.9])
@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("library", ["dense", "spikingjelly"])
def test_ours_and_the_dense_net_and_spikingjellys_node_that_fires_once_agree(name, decay, library):
    once = {} if library == "dense" else {"fires_once": True}
    if once:
        pytest.importorskip("spikingjelly")
    ours, ours_gradients = scores_and_gradients(Setting("firstspike", "ours", options={"decay": decay}), TINY[name])
    assert all(gradient.abs().max() > 0 for gradient in ours_gradients)
    scores, gradients = scores_and_gradients(Setting(library, "it", options={"decay": decay, **once}), TINY[name])
    torch.testing.assert_close(scores, ours, atol=1e-4, rtol=0)
    compared = slice(None, -1 if once else None)
    for mine, other in zip(ours_gradients[compared], gradients[compared], strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weight_bits", [None, 4])
@pytest.mark.parametrize("name", TINY)
def test_quantised_nets_of_brevitas_and_torch_have_the_same_levels(name, weight_bits):
    pytest.importorskip("brevitas")
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    nets = [make(TINY[name], 4, weight_bits).eval() for make in (quantized_net.brevitas_net, quantized_net.lsq_net)]
    if weight_bits is not None:  # the same first steps as Brevitas', which take the largest weight
        for module in nets[1].modules():
            if isinstance(module, quantized_net.LsqWeight):
                module.low = -module.high
        for theirs, mine in zip(*map(products, nets), strict=True):
            mine.parametrizations.weight[0].step.data = theirs.quant_weight().scale.detach().clone()
    scores = [net(x).detach() for net in nets]
    torch.testing.assert_close(scores[0], scores[1], atol=1e-4, rtol=1e-4)
    nets[1](x).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in nets[1].parameters())


def products(net):
    return [module for module in net.modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)]
