"""Plain copies of nets, for code that reads them by their structure."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from firstspike import models
from firstspike import nn as fs
from firstspike._base.modules import evaluating, plain_copy
from firstspike.inspect import Monitor

STEPS = 6


def chain(hidden=None):
    torch.manual_seed(0)
    return nn.Sequential(
        fs.DirectLinear(16, 8, steps=STEPS),
        hidden or fs.TTFSLinear(8, 8, steps=STEPS),
        fs.Integrate(8, 3, steps=STEPS),
        fs.MembraneReadout(),
    ).eval()


def with_weights(change):
    def make():
        net = chain(fs.TTFSLinear(8, 8, steps=STEPS, normalization=True)).train()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch advises parametrizations
            for layer in list(net)[:3]:
                change(layer)
        net(torch.rand(2, 16)).sum().backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.neg_()  # now older than the weights of the last call
        return net.eval()

    return make


def pruned(layer):
    prune.l1_unstructured(layer, "weight", amount=0.5)


CHANGES = [pruned, parametrizations.weight_norm, nn.utils.weight_norm, nn.utils.spectral_norm]


@pytest.mark.parametrize("change", CHANGES)
def test_weights_are_those_of_the_next_call(change):
    net, x = with_weights(change)(), torch.rand(64, 16)
    copied = plain_copy(net)
    assert {name for name, _ in copied[1].named_parameters()} == {"weight", "gamma", "bias"}
    assert type(copied[1]) is fs.TTFSLinear and not [*copied.buffers()]
    assert torch.equal(copied(x), net(x))
    assert "weight" not in dict(net[1].named_parameters()) and torch.equal(copied(x), net(x))  # the net is what it was


def test_it_is_apart_from_the_net_and_in_evaluation_mode():
    net = models.as_net(chain()).train()
    with Monitor(net):
        copied = plain_copy(torch.compile(net, backend="eager"))
    assert type(copied) is models.TTFSNet and not any(module.training for module in copied.modules())
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in copied.modules())
    copied.layers[0].weight.data.zero_()
    assert net.layers[0].weight.any()


class Derived(fs.TTFSLinear):
    pass


def hooked(place):
    net = chain()
    net.get_submodule(place).register_forward_hook(lambda module, args, output: None)
    return net


def replaced():
    net = chain()
    net[1].forward = net[1].forward
    return net


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: chain(Derived(8, 8, steps=STEPS)), "1 is a .*Derived"),
        (lambda: nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1)), *chain()), r"0\.0 is a .*Conv2d"),
        (lambda: hooked(""), "net itself has forward hooks"),
        (lambda: hooked("2"), "2 has forward hooks"),
        (replaced, "1 has a forward"),
    ],
)
def test_a_part_that_does_something_else_is_refused(make, part):
    with pytest.raises(TypeError, match=part):
        plain_copy(make())


def test_modes_return_after_an_error():
    net = chain()
    net[1].train()
    with pytest.raises(RuntimeError), evaluating(net):
        assert not net[1].training
        raise RuntimeError
    assert [module.training for module in net] == [False, True, False, False]
