"""The sides of the comparison compute the same net, as far as their libraries can."""

import pytest
import torch
import torch.nn.functional as F
from benchmarks.nets import Setting, build
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
