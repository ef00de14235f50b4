"""Layers that run as one call in training: the bits of layer by layer, and all that autograd offers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from firstspike import SpikeTimes, encode, explain, nn, surrogate
from firstspike.models import TTFSNet
from firstspike.nn import _chain
from firstspike.nn.firing import learn_thresholds

from ..samples import generator
from .chained import NETS, chained, data, layer_by_layer, learn, net_of, nodes, same


@pytest.mark.parametrize("name", NETS)
def test_same_bits_as_layer_by_layer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of(name)
    x = data(net)
    expected = layer_by_layer(net, monkeypatch, x)
    assert chained(net, x) == 1
    same(learn(net, x), expected)


def test_a_first_layer_that_is_directly_coded_is_learned_through_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient at the anchor of the chain's input, with dropout on the input and without, sparse and dense."""
    for options in ({}, {"dropout": 0.3}, {"surrogate": surrogate.triangle(4.0)}):
        net = net_of("direct", **options)
        x = data(net)
        assert explain(net).together == (("layers.1", "layers.2"),)
        same(learn(net, x), layer_by_layer(net, monkeypatch, x))
    net = net_of("direct")
    net.layers[0].surrogate = surrogate.atan()
    expected = layer_by_layer(net, monkeypatch, x)
    assert chained(net, x) == 1  # behind a dense anchor
    same(learn(net, x), expected)


def test_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised")
    for batch in (0, 1, 33):
        x = data(net, batch)
        scores = net(x)
        assert scores.shape == (batch, 10)
        if batch:
            same(learn(net, x), layer_by_layer(net, monkeypatch, x))


def test_spikes_as_input(monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised", encoder="spikes")
    spikes = encode.latency(data(net), steps=6)
    expected = layer_by_layer(net, monkeypatch, spikes)
    assert chained(net, spikes) == 1
    same(learn(net, spikes), expected)


def test_gradients_are_added_and_graphs_can_be_used_again() -> None:
    net = net_of("dropout")
    x = data(net)
    once = [gradient.clone() for gradient in learn(net, x)[1:-1]]
    torch.manual_seed(6)
    loss = torch.nn.functional.cross_entropy(net(x), torch.arange(7))
    loss.backward(retain_graph=True)
    for p, gradient in zip(net.parameters(), once, strict=True):
        assert torch.equal(p.grad, 2 * gradient)
    loss.backward()
    for p, gradient in zip(net.parameters(), once, strict=True):
        assert torch.equal(p.grad, 2 * gradient + gradient)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_the_gradient_of_some_parameters_alone() -> None:
    net = net_of("direct", affine="layer", dropout=0.2)
    x = data(net)
    gradients = dict(zip([name for name, _ in net.named_parameters()], learn(net, x)[1:-1], strict=True))
    for names in (["layers.2.weight"], ["layers.1.gamma", "layers.2.bias"], ["layers.1.bias"], ["layers.0.weight"]):
        torch.manual_seed(6)
        loss = torch.nn.functional.cross_entropy(net(x), torch.arange(7))
        some = torch.autograd.grad(loss, [net.get_parameter(name) for name in names])
        for name, gradient in zip(names, some, strict=True):
            assert torch.equal(gradient, gradients[name]), name


def test_parameters_beside_the_weight_may_be_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised")
    net.layers[0].gamma.requires_grad_(False)
    net.layers[1].bias.requires_grad_(False)
    x = data(net)
    assert chained(net, x) == 1
    got = learn(net, x)
    assert net.layers[0].gamma.grad is None and net.layers[1].bias.grad is None
    same(got, layer_by_layer(net, monkeypatch, x))


def test_a_weight_that_is_changed_before_the_backward_pass_is_noticed() -> None:
    net = net_of("normalised")
    loss = net(data(net)).sum()
    with torch.no_grad():
        net.layers[1].weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_there_is_no_second_derivative() -> None:
    net = net_of("normalised")
    for loss in (net(data(net)).square().sum(), net(data(net)).sum()):
        (gradient,) = torch.autograd.grad(loss, [net.layers[0].weight], create_graph=True)
        with pytest.raises(RuntimeError, match="no second derivative"):
            gradient.sum().backward(retain_graph=True)
        for name, parameter in net.named_parameters():
            if not name.startswith(f"layers.{len(net.layers) - 1}."):  # a membrane is linear in its bias and its weight
                with pytest.raises(RuntimeError, match="no second derivative"):
                    torch.autograd.grad(gradient.sum(), parameter, retain_graph=True)


def test_under_checkpoint_and_with_hooks_of_saved_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("dropout")
    x = data(net)
    expected = layer_by_layer(net, monkeypatch, x)
    same(learn(net, x, lambda x: checkpoint(net, x, use_reentrant=False)), expected)
    with torch.autograd.graph.save_on_cpu():
        same(learn(net, x), expected)


def test_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised")
    x = data(net)
    with torch.autocast("cpu", torch.bfloat16):
        got = learn(net, x)
        same(got, layer_by_layer(net, monkeypatch, x))


def test_functional_call(monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised")
    x = data(net)
    weights = {name: (p * 1.1).detach().requires_grad_() for name, p in net.named_parameters()}
    scores = torch.func.functional_call(net, weights, (x,))
    assert "Chain" in " ".join(nodes(scores))
    scores.sum().backward()
    copied = copy.deepcopy(net)
    copied.load_state_dict(weights)
    with monkeypatch.context() as patch:
        patch.setattr(_chain, "chains", lambda layers: [[layer] for layer in layers])
        copied(x).sum().backward()
    for name, p in copied.named_parameters():
        assert torch.equal(p.grad, weights[name].grad)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_learn_alike(copied: Callable[[TTFSNet], TTFSNet]) -> None:
    net = net_of("thresholds")
    x = data(net)
    expected = learn(net, x)
    same(learn(copied(net), x), expected)


def test_learned_thresholds_that_are_added_later(monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised")
    learn_thresholds(net)
    x = data(net)
    assert chained(net, x) == 1
    same(learn(net, x), layer_by_layer(net, monkeypatch, x))


def test_wrong_steps_are_refused_as_by_the_layers() -> None:
    net = net_of("normalised")
    net.layers[1].steps = 5
    with pytest.raises(ValueError, match="spikes must have the layer's steps = 5, got 6"):
        net(data(net))


def test_weights_that_do_not_fit_are_refused_as_by_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("normalised", "affine"):
        net = net_of(name)
        net.layers[1].weight = torch.nn.Parameter(torch.ones(20, 23))
        messages = []
        for run in (learn, lambda net, x: layer_by_layer(net, monkeypatch, x)):
            with pytest.raises(ValueError, match="have 24 features") as error:
                run(net, data(net))
            messages.append(str(error.value))
        assert messages[0] == messages[1]


def test_a_chain_of_spikes_gives_spikes_that_others_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output of a chain that fires carries its support: a layer behind it, and a dense train, learn through it."""
    layers = [
        nn.TTFSLinear(9, 8, steps=4, generator=generator(1)),
        nn.TTFSLinear(8, 7, steps=4, generator=generator(2)),
    ]
    behind = nn.Integrate(7, 3, steps=4, generator=generator(3))
    spikes = SpikeTimes(torch.randint(0, 4, (5, 9), generator=generator(4), dtype=torch.uint8), 4)
    found = []
    for run in (_chain.run_layers, lambda layers, signal: layers[1](layers[0](signal))):
        out = run(layers, spikes)
        (behind(out).sum() + (out.dense() * torch.arange(4.0).view(-1, 1, 1)).sum()).backward()
        found.append([p.grad for layer in layers for p in layer.parameters()])
        for layer in layers:
            layer.zero_grad()
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b) and float(a.abs().max()) > 0
