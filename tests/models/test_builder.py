"""Nets from strings: their layers, settings and configs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from firstspike import models, nn
from firstspike.models import TTFSNet
from firstspike.surrogate import rectangle, triangle

from ..samples import generator

IMAGE = (1, 28, 28)
READOUTS = ["membrane", "membrane-mean", "membrane-weighted", "twd-exp", "twd-linear", "first-spike"]


def build(spec: str = "16-12-4", **options: Any) -> TTFSNet:
    """A small net."""
    settings: dict[str, Any] = {"input_shape": (16,), "steps": 5, "generator": generator(0)}
    return models.build(spec, **{**settings, **options})


def shapes(net: TTFSNet) -> list[tuple[str, tuple[int, ...]]]:
    """Kind and weight of every layer; of a pool its factor."""
    found = []
    for layer in net.layers:
        name = type(layer).__name__.removeprefix("Parametrized")
        found.append((name, tuple(layer.weight.shape) if isinstance(layer, nn.Synapses) else (layer.kernel_size,)))
    return found


def test_mlp() -> None:
    net = models.build("784-400-400-10", input_shape=IMAGE, steps=8)
    assert shapes(net) == [("DirectLinear", (400, 784)), ("TTFSLinear", (400, 400)), ("Integrate", (10, 400))]
    assert net.spec == "784-400-400-10" and net.steps == 8
    assert net(torch.rand(2, *IMAGE)).shape == net(torch.rand(2, 784)).shape == (2, 10)


def test_cnn() -> None:
    net = models.build("32C3-AP2-64C5-AP2-256-10", input_shape=IMAGE, steps=8)
    assert shapes(net) == [
        ("DirectConv2d", (32, 1, 3, 3)),
        ("TTFSConv2d", (64, 32, 5, 5)),
        ("TTFSLinear", (256, 3136)),
        ("Integrate", (10, 256)),
    ]
    assert [layer.avg_pool for layer in net.layers[1:]] == [2, 2, 1]
    assert [layer.padding for layer in net.layers[:2]] == [(1, 1), (2, 2)]
    assert net(torch.rand(2, *IMAGE)).shape == (2, 10)


def test_other_pools_are_modules_of_their_own() -> None:
    net = models.build("4C3-MP2-8C3-EP3-10", input_shape=(3, 13, 9), steps=8, readout="twd-exp", population=2)
    assert shapes(net) == [
        ("DirectConv2d", (4, 3, 3, 3)),
        ("MaxPool2d", (2,)),
        ("TTFSConv2d", (8, 4, 3, 3)),
        ("EarliestPool2d", (3,)),
        ("TTFSLinear", (20, 8 * 2 * 1)),
    ]
    assert net(torch.rand(2, 3, 13, 9)).shape == (2, 10)


@pytest.mark.parametrize(("pooling", "kinds"), [("avg", []), ("max", ["MaxPool2d"]), ("earliest", ["EarliestPool2d"])])
def test_pooling_replaces_every_pool(pooling: str, kinds: list[str]) -> None:
    net = models.build("4C3-EP2-8C3-AP2-10", input_shape=(1, 8, 8), steps=4, pooling=pooling)
    assert [name for name, _ in shapes(net) if "Pool" in name] == kinds * 2


def test_single_spike_pools_are_of_windows_alone() -> None:
    shared: dict[str, Any] = {"input_shape": (1, 7, 8), "steps": 4}
    net = models.build("4C3-SP2-8C3-AP2-10", timing="windowed", pooling="single", **shared)
    assert [name for name, _ in shapes(net) if "Pool" in name] == ["WindowedAvgPool2d"] * 2
    with pytest.raises(models.GrammarError, match="windowed") as caught:
        models.build("4C3-SP2-10", **shared)
    assert (caught.value.start, caught.value.end) == (4, 7)


@pytest.mark.parametrize(("encoder", "curve"), [("latency", "linear"), ("latency-log", "log")])
def test_latency_encoders(encoder: str, curve: str) -> None:
    net = build(encoder=encoder)
    assert isinstance(net.encoder, nn.LatencyEncoder) and net.encoder.curve == curve
    assert shapes(net) == [("TTFSLinear", (12, 16)), ("Integrate", (4, 12))]
    assert shapes(build("16-4", encoder=encoder)) == [("Integrate", (4, 16))]


@pytest.mark.parametrize("readout", READOUTS)
def test_readouts(readout: str) -> None:
    options = {} if readout.startswith("membrane") else {"scale": 4.0}
    net = build(readout=readout, **options | ({"gamma": 1.3} if readout.startswith("twd") else {}))
    outputs = 40 if readout.startswith("twd") else 4
    assert shapes(net)[-1] == ("Integrate" if readout.startswith("membrane") else "TTFSLinear", (outputs, 12))
    assert shapes(build(readout=readout, population=3))[-1][1] == (12, 12)
    kind = {"m": nn.MembraneReadout, "t": nn.TemporalWeighting, "f": nn.FirstSpike}[readout[0]]
    assert isinstance(net.readout, kind) and net.readout.classes == 4
    if isinstance(net.readout, nn.TemporalWeighting):
        assert (net.readout.gamma, net.readout.scale, net.readout.mode) == (1.3, 4.0, readout[4:])


def test_settings_reach_every_layer() -> None:
    net = build(threshold=0.5, decay=0.75, surrogate=rectangle(2.0), affine="layer", readout="twd-exp")
    for layer in net.layers:
        assert (layer.threshold, layer.decay, layer.surrogate) == (0.5, 0.75, rectangle(2.0))
        assert layer.gamma.shape == layer.bias.shape == (1,)
        assert isinstance(layer.normalization, nn.WeightNormalization)
    net = build(affine=None, normalization=False, decay=0.75)
    assert sorted(dict(net.named_parameters())) == ["layers.0.weight", "layers.1.weight"]
    assert net.layers[-1].decay == 0.75
    net = build(affine=None, bias=True, normalization=False)
    assert {name.split(".")[-1] for name, _ in net.named_parameters()} == {"bias", "weight"}
    assert build(bias=False).layers[0].bias is None


def test_dropout_is_of_fully_connected_layers_behind_others() -> None:
    def rates(spec: str, **options: Any) -> list[float]:
        return [layer.dropout for layer in build(spec, dropout=0.25, **options).layers]

    assert rates("16-8-6-4") == [0, 0.25, 0.25]
    assert rates("16-8-6-4", encoder="latency", readout="twd-exp") == [0, 0.25, 0.25]
    assert rates("4C3-AP2-6C3-9-4", input_shape=(1, 6, 6)) == [0, 0, 0.25, 0.25]
    assert build(dropout=0.25).config()["dropout"] == 0.25


@pytest.mark.parametrize(("init", "variance"), [("ettfs", 5 / 100), ("kaiming", 2 / 100), ("torch", 1 / 300)])
def test_inits(init: str, variance: float) -> None:
    net = build("16-100-300-4", init=init, normalization=False)
    assert net.layers[1].weight.var().item() == pytest.approx(variance, rel=0.05)
    normal = build("16-100-300-4", init=init)
    assert normal.layers[1].effective_weight_and_bias()[0].var().item() == pytest.approx(5 / 100, rel=0.01)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"readout": "twd-linear", "population": 3, "gamma": 2.0, "scale": 3.0, "surrogate": rectangle(0.5)},
        {"dropout": 0.5, "threshold": 0.8, "learn_threshold": True},
        {"readout": "twd-exp", "output_gain": 0.5, "output_surrogate": triangle(1.5), "hidden_gain": 0.7},
        {"encoder": "latency-log", "affine": "layer", "normalization": "channel", "decay": 0.9},
        {"encoder": "latency-log", "affine": None, "normalization": False, "init": "kaiming", "decay": 0.9},
        {"spec": "4C3-AP2-8C3-AP2-9-4", "input_shape": (1, 6, 6), "pooling": "max", "readout": "first-spike"},
    ],
)
def test_config_rebuilds_the_net(options: dict[str, Any]) -> None:
    net = build(**options).eval()
    config = json.loads(json.dumps(net.config()))
    other = models.from_config(config, generator=generator(8)).eval()
    assert other.config() == config == net.config()
    assert repr(other) == repr(net)
    x = torch.rand(3, *net.input_shape, generator=generator(1))
    assert not torch.equal(other(x), net(x))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x), net(x))


def small(spec: str = "4C3-AP2-6-3", **options: Any) -> TTFSNet:
    """A small net whose output layer fires."""
    return build(spec, **{"input_shape": (1, 4, 4), "steps": 4, "readout": "twd-exp"} | options)


def test_only_the_output_layer_changes() -> None:
    plain, own = small(), small(output_gain=0.5, output_surrogate=triangle(1.5))
    assert [layer.surrogate.scale for layer in own.layers] == [0.9, 0.9, 1.5]
    assert own.layers[-1].gain == 0.5 and own.layers[1].gain == plain.layers[1].gain
    for before, after in zip(plain.layers[:-1], own.layers[:-1], strict=True):
        assert torch.equal(before.weight, after.weight)
    assert torch.allclose(own.layers[-1].weight, 0.5 * plain.layers[-1].weight)
    weight, _ = own.layers[-1].effective_weight_and_bias()
    assert float(weight.detach().std(correction=0)) == pytest.approx(0.5 * (4 / 6) ** 0.5, rel=1e-4)  # gain sqrt(T / N)


@pytest.mark.parametrize("spec", ["4C3-AP2-6C3-AP2-8-3", "4C3-R(4C3-4C3)-AP2-3"])
@pytest.mark.parametrize("readout", ["twd-exp", "membrane"])
def test_hidden_gain_scales_the_hidden_layers_that_get_spikes(spec: str, readout: str) -> None:
    plain, own = (small(spec, readout=readout, **options) for options in ({}, {"hidden_gain": 0.7}))
    layers = {name for name, layer in own.named_modules() if hasattr(layer, "effective_weight_and_bias")}
    hidden = layers - {"layers.0", f"layers.{len(own.layers) - 1}"}
    assert len(hidden) == 2
    for name in layers:
        before, after = (dict(net.named_modules())[name].effective_weight_and_bias()[0] for net in (plain, own))
        assert torch.allclose(after, before * (0.7 if name in hidden else 1.0), atol=1e-6), name
