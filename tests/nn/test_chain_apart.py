"""Where somebody looks between the layers, or a layer does something else, they run one by one, and `explain` says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from firstspike import encode, explain, inspect, models, nn, surrogate
from firstspike.models import TTFSNet
from firstspike.nn import _chain

from ..samples import generator
from .chained import chained, data, layer_by_layer, learn, net_of, same


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


@pytest.mark.parametrize(
    ("gamma", "error", "text"),
    [
        (torch.ones(5, dtype=torch.float64), TypeError, "gamma must be float32"),
        (torch.ones(3), ValueError, "gamma must have 1 or 5 elements, one per output, got 3"),
    ],
)
def test_a_wrong_gamma_is_refused_alike(gamma: torch.Tensor, error: type[Exception], text: str) -> None:
    layers = [nn.TTFSLinear(6, 8, steps=4), nn.TTFSLinear(8, 5, steps=4, normalization=True, affine="channel")]
    layers[1].gamma = torch.nn.Parameter(gamma)
    spikes = encode.latency(torch.rand(2, 6), steps=4)
    with pytest.raises(error, match=text):
        layers[1](layers[0](spikes))
    with pytest.raises(error, match=text):
        _chain.run_layers(layers, spikes)


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
