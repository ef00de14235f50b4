"""Layers that run as one call in training: the bits of layer by layer, and one by one where somebody looks between them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from firstspike import SpikeTimes, encode, explain, inspect, models, nn, surrogate
from firstspike.models import TTFSNet
from firstspike.nn import _chain
from firstspike.nn.firing import learn_thresholds

from ..samples import generator

MLP, CNN = "30-24-20-10", "4C3-AP2-6C3s2-12-10"
NETS: dict[str, dict[str, Any]] = {
    "plain": {"spec": MLP, "affine": None},
    "no bias": {"spec": MLP, "bias": False},
    "affine": {"spec": MLP},
    "normalised": {"spec": MLP, "normalization": True},
    "normalised, affine per layer": {"spec": MLP, "normalization": True, "affine": "layer"},
    "normalised, no affine, leaky": {"spec": MLP, "normalization": True, "affine": None, "decay": 0.75},
    "dropout": {"spec": MLP, "normalization": True, "dropout": 0.3},
    "dropout, no normalisation": {"spec": MLP, "dropout": 0.3},
    "thresholds": {"spec": MLP, "normalization": True, "learn_threshold": True, "dropout": 0.2},
    "output spikes": {"spec": MLP, "normalization": True, "readout": "twd-exp"},
    "first spike": {"spec": MLP, "normalization": True, "readout": "first-spike"},
    "convolutions": {"spec": CNN, "normalization": True, "dropout": 0.2},
    "direct": {"spec": MLP, "encoder": "direct", "normalization": True},
    "direct convolution": {"spec": CNN, "encoder": "direct", "normalization": True, "dropout": 0.2},
}


def net_of(name: str, **options: Any) -> TTFSNet:
    settings = {"encoder": "latency", "steps": 6, **NETS[name], **options}
    settings["input_shape"] = (1, 8, 8) if settings["spec"] == CNN else (30,)
    return models.build(**settings, generator=generator(4))


def data(net: TTFSNet, batch: int = 7) -> Tensor:
    return torch.rand(batch, *net.input_shape, generator=generator(5))


def learn(net: TTFSNet, x: Any, call: Callable[..., Tensor] | None = None) -> list[Tensor]:
    """Scores, gradients, and what torch's generator draws afterwards."""
    net.zero_grad()
    torch.manual_seed(6)
    scores = (call or net)(x)
    torch.nn.functional.cross_entropy(scores, torch.arange(len(scores)) % 10).backward()
    return [scores.detach(), *(p.grad for p in net.parameters() if p.grad is not None), torch.rand(1)]


def layer_by_layer(net: TTFSNet, monkeypatch: pytest.MonkeyPatch, x: Any) -> list[Tensor]:
    with monkeypatch.context() as patch:
        patch.setattr(_chain, "chains", lambda layers: [[layer] for layer in layers])
        return learn(net, x)


def nodes(tensor: Tensor) -> list[str]:
    """The names of the nodes of a graph of autograd."""
    found, todo = [], [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.append(node)
            todo += [before for before, _ in node.next_functions]
    return [node.name() for node in found]


def chained(net: TTFSNet, x: Any) -> int:
    """How many calls of chains a pass makes."""
    return sum("Chain" in name for name in nodes(net(x)))


def same(got: list[Tensor], expected: list[Tensor]) -> None:
    assert len(got) == len(expected) > 3
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)
    assert all(float(b.abs().max()) > 0 for b in expected)


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


def test_without_a_gradient_there_is_no_chain() -> None:
    net = net_of("normalised")
    x = data(net)
    expected = net(x)
    assert expected.requires_grad
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            assert torch.equal(net(x), expected)


HOOKS: dict[str, Callable[[TTFSNet], Any]] = {
    "forward": lambda net: net.layers[1].register_forward_hook(lambda module, inputs, output: None),
    "forward pre": lambda net: net.layers[1].register_forward_pre_hook(lambda module, inputs: None),
    "full backward": lambda net: net.layers[1].register_full_backward_hook(lambda module, inputs, outputs: None),
    "of the normalisation": lambda net: net.layers[1].normalization.register_forward_hook(lambda module, i, o: None),
    "every module": lambda net: torch.nn.modules.module.register_module_forward_hook(lambda module, i, o: None),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_are_called(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised")
    x = data(net)
    expected = layer_by_layer(net, monkeypatch, x)
    handle = HOOKS[kind](net)
    try:
        assert explain(net).apart["layers.1"] == "it has hooks, or a forward of its own"
        assert chained(net, x) == 0
        same(learn(net, x), expected)
    finally:
        handle.remove()
    assert chained(net, x) == 1


def test_a_monitor_sees_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised")
    x = data(net)
    with inspect.Monitor(net) as seen:
        got = learn(net, x)
    assert list(seen.layers) == ["encoder", "layers.0", "layers.1", "layers.2"]
    same(got, layer_by_layer(net, monkeypatch, x))
    assert chained(net, x) == 1


class _Doubled(nn.TTFSLinear):
    """A layer of one's own."""

    def forward(self, spikes: Any, *args: Any, **kwargs: Any) -> Any:
        return super().forward(spikes)


def _own_forward(net: TTFSNet) -> None:
    layer = net.layers[1]
    layer.forward = layer.forward


def _own_class(net: TTFSNet) -> None:
    net.layers[1] = _Doubled(24, 20, steps=6)


def _own_normalization(net: TTFSNet) -> None:
    class Own(nn.WeightNormalization):
        pass

    net.layers[1].normalization = Own(6, 24)


class _Quantizer(torch.nn.Module):
    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return weight * 1.0, bias


CHANGES: dict[str, tuple[Callable[[TTFSNet], Any], str]] = {
    "own forward": (_own_forward, "it has hooks, or a forward of its own"),
    "own class": (_own_class, "_Doubled is always a call of its own"),
    "own normalisation": (_own_normalization, "its normalisation is not nn.WeightNormalization"),
    "quantizer": (lambda net: setattr(net.layers[1], "quantizer", _Quantizer()), "it has a quantizer"),
    "frozen": (lambda net: net.layers[1].requires_grad_(False), "its weight is not trained"),
    "dense": (lambda net: setattr(net.layers[1], "surrogate", surrogate.atan()), "its surrogate is dense"),
    "float64": (lambda net: net.layers[1].double(), "its weight is torch.float64 on cpu, not float32 on the CPU"),
    "meta": (lambda net: net.layers[1].to("meta"), "its weight is torch.float32 on meta, not float32 on the CPU"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_layers_that_run_alone_say_why(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised")
    make, reason = CHANGES[change]
    make(net)
    calls = explain(net)
    assert not calls.together
    assert calls.apart["layers.1"] == reason
    assert calls.apart["layers.0"] == calls.apart["layers.2"] == "no layer before or after it can join"
    if change not in ("float64", "meta"):
        x = data(net)
        assert chained(net, x) == 0
        same(learn(net, x), layer_by_layer(net, monkeypatch, x))


def test_the_plan_of_a_net_as_text() -> None:
    assert str(explain(net_of("affine"))) == "one call: layers.0, layers.1, layers.2"
    text = str(explain(net_of("direct", readout="first-spike")))
    assert text == (
        "layers.0: DirectLinear is always a call of its own\n"
        "layers.1: no layer before or after it can join\n"
        "layers.2: the readout needs its membrane beside its spikes"
    )


def test_a_net_is_one_call_up_to_a_layer_that_integrates_or_pools() -> None:
    layers = [
        nn.TTFSConv2d(1, 2, 3, steps=4),
        nn.MaxPool2d(2),
        nn.TTFSLinear(18, 9, steps=4),
        nn.Integrate(9, 3, steps=4),
    ]
    assert [len(group) for group in _chain.chains(layers)] == [1, 1, 2]
    assert [len(group) for group in _chain.chains([nn.Integrate(3, 3, steps=4)] * 2)] == [1, 1]


def test_a_dense_train_goes_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    net = models.build("4C3-MP2-12-9-10", input_shape=(1, 8, 8), steps=4, encoder="latency", generator=generator(4))
    x = data(net)
    assert explain(net).together == (("layers.2", "layers.3", "layers.4"),)
    assert chained(net, x) == 0
    same(learn(net, x), layer_by_layer(net, monkeypatch, x))


class _Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.seen.add(func._schema.name)
        return func(*args, **(kwargs or {}))


def test_a_mode_sees_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of("normalised")
    x = data(net)
    with _Operators() as operators:
        got = learn(net, x)
    assert {"firstspike::fire_layer", "firstspike::normalize_weight_backward"} <= operators.seen
    same(got, layer_by_layer(net, monkeypatch, x))


def test_a_mode_sees_the_operators_of_the_backward_pass() -> None:
    net = net_of("normalised")
    loss = net(data(net)).sum()
    with _Operators() as operators:
        loss.backward()
    assert {"firstspike::fire_layer_backward", "firstspike::normalize_weight_backward"} <= operators.seen


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
    (gradient,) = torch.autograd.grad(net(data(net)).square().sum(), [net.layers[0].weight], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


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
            with pytest.raises(ValueError, match=r"weight must have shape \[outputs, 24\]") as error:
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
