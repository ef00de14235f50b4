"""`firstspike.save` and `firstspike.load`: the same net from one file, the same bytes for the same net."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import firstspike as fs
from firstspike import emulator, models
from firstspike import nn as layers
from firstspike._base import tensors
from firstspike.models import files
from firstspike.surrogate import rectangle

from ..samples import generator


def stack() -> models.TTFSNet:
    """A net that no string makes: other settings in each layer, a threshold per neuron, pairs of sizes."""
    g = generator(0)
    parts = [
        layers.DirectConv2d(2, 5, (3, 1), stride=(1, 2), steps=6, normalization="channel", generator=g),
        layers.EarliestPool2d(2),
        layers.TTFSConv2d(5, 4, (1, 3), padding=(0, 1), steps=6, decay=0.75, affine="layer", generator=g),
        layers.TTFSLinear(
            4 * 2 * 2, 7, steps=6, avg_pool=1, surrogate=rectangle(0.5), bias=False, synaptic_decay=0.5, generator=g
        ),
        layers.Integrate(7, 3, steps=6, dropout=0.25, decay=0.5, synaptic_decay=1.0, generator=g),
    ]
    parts[2].threshold = nn.Parameter(torch.rand(4, generator=g) + 0.5)
    parts[3].threshold = torch.rand(7, generator=g) + 0.5
    return models.TTFSNet(parts, encoder="direct", readout="membrane-mean", input_shape=(2, 6, 9))


def chain() -> nn.Sequential:
    inner = nn.Sequential(OrderedDict(hidden=layers.TTFSLinear(8, 6, steps=4), out=layers.Integrate(6, 3, steps=4)))
    first = nn.Dropout(0.1), layers.LatencyEncoder(4, "log"), nn.Flatten(), layers.TTFSLinear(16, 8, steps=4)
    return nn.Sequential(*first, nn.Identity(), inner, layers.MembraneReadout("weighted")).eval()


def windows() -> nn.Sequential:
    first = layers.WindowedEncoder(64, 1, [0.25]), layers.WindowedConv2d(1, 3, 3, steps=9, clip_per_channel=True).fold()
    return nn.Sequential(*first, layers.WindowedMaxPool2d(3, 2, (1, 0)), layers.WindowedReadout(3 * 4 * 3, 2)).eval()


def converted() -> models.TTFSNet:
    relu = models.relu_counterpart("8C3-MP2-16-10", input_shape=(1, 8, 8), generator=generator(0))
    return fs.convert(relu, torch.rand(6, 1, 8, 8, generator=generator(1)) * 9 - 5, 16)


def built(spec: str, **options: Any) -> models.TTFSNet:
    return models.build(spec, input_shape=(1, 8, 8), steps=8, generator=generator(0), **options)


def scaled(net: Any) -> Any:
    net.normalize = layers.Normalize([0.25], [0.5])
    return net


NETS = {
    "a stack": (stack, (2, 6, 9)),
    "a chain": (chain, (1, 4, 4)),
    "fully connected": (lambda: built("64-30-10"), (1, 8, 8)),
    "convolutions": (lambda: built("4C3-AP2-R(8C3-6C3)-MP2-20-10", learn_threshold=True), (1, 8, 8)),
    "spiking readout": (lambda: built("64-10", readout="twd-exp"), (1, 8, 8)),
    "a chain of windows": (windows, (1, 8, 8)),
    "converted": (converted, (1, 8, 8)),
    "scaled": (lambda: scaled(built("4C3-10")), (1, 8, 8)),
    "scaled ReLU": (lambda: scaled(models.relu_counterpart("64-10", input_shape=(1, 8, 8))), (1, 8, 8)),
    "ReLU": (lambda: models.relu_counterpart("4C3-AP2-R(4C3)-10", input_shape=(1, 8, 8), dropout=0.2), (1, 8, 8)),
}


@pytest.mark.parametrize("name", NETS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    net, x = NETS[name][0](), torch.rand(5, *NETS[name][1], generator=generator(1))
    state = torch.get_rng_state()
    fs.save(net, tmp_path / "net")
    loaded = fs.load(tmp_path / "net")
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.training and repr(loaded) == repr(net.eval())
    assert torch.equal(loaded(x), net(x)) and list(loaded.state_dict()) == list(net.state_dict())
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in net.named_parameters()]
    assert getattr(loaded, "spec", None) == getattr(net, "spec", None)
    fs.save(loaded, tmp_path / "again")
    assert (tmp_path / "net").read_bytes() == (tmp_path / "again").read_bytes()


def test_metadata_and_folders(tmp_path: Path) -> None:
    facts = {"config": {"lr": 0.1, "spec": "64-10"}, "epoch": 3, "data": None}
    net = built("64-10", readout="first-spike")
    fs.save(net, tmp_path / "model.safetensors", facts)
    assert files.read_metadata(tmp_path) == facts
    loaded = fs.load(tmp_path)
    assert isinstance(loaded, models.TTFSNet) and loaded.config() == net.config()
    fs.save(net, tmp_path / "plain")
    assert files.read_metadata(tmp_path / "plain") == {}


def test_weights_of_a_net_with_code_of_its_own(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    files.save_weights(net, tmp_path / "net", {"epoch": 1})
    assert torch.equal(files.load_weights(tmp_path / "net")["weight"], net.weight)
    assert files.read_metadata(tmp_path / "net") == {"epoch": 1}
    with pytest.raises(ValueError, match="weights without a description"):
        fs.load(tmp_path / "net")


def test_pruned_and_parametrized_weights_become_plain(tmp_path: Path) -> None:
    net = models.mlp("16-8-4", steps=4, generator=generator(0)).eval()
    prune.l1_unstructured(net.layers[0], "weight", 0.5)
    parametrizations.weight_norm(net.layers[1], "weight")
    x = torch.rand(5, 16, generator=generator(1))
    fs.save(net, tmp_path / "net")
    loaded = fs.load(tmp_path / "net")
    assert torch.equal(loaded(x), net(x)) and set(loaded.state_dict()) == set(models.mlp("16-8-4", steps=4).state_dict())
    assert prune.is_pruned(net)  # what is saved is a copy


def test_a_layer_that_occurs_twice_becomes_two(tmp_path: Path) -> None:
    layer = layers.TTFSLinear(5, 5, steps=4)
    net = nn.Sequential(layer, nn.Identity(), layer)
    fs.save(net, tmp_path / "net")
    loaded = fs.load(tmp_path / "net")
    x = fs.encode.latency(torch.rand(7, 5), steps=4)
    assert torch.equal(loaded(x).times, net(x).times)
    assert len(list(loaded.parameters())) == 2 * len(list(net.parameters()))


def with_buffer() -> nn.Module:
    net = nn.Sequential(layers.DirectLinear(16, 8, steps=4))
    net.register_buffer("mean", torch.zeros(16))
    return net


def with_other_weight() -> nn.Module:
    net = nn.Sequential(layers.DirectLinear(16, 8, steps=4))
    net[0].weight = nn.Parameter(torch.zeros(8, 15))
    return net


def with_quantizer() -> nn.Module:
    layer = layers.TTFSLinear(2, 2, steps=4)
    layer.quantizer = nn.Identity()
    return layer


def prepared_windows() -> nn.Module:
    return emulator.qat.prepare(models.build("4-3-2", input_shape=(4,), steps=4, timing="windowed"), bits=3)


@pytest.mark.parametrize(
    ("net", "named"),
    [
        (lambda: nn.Sequential(nn.Identity(), nn.Linear(2, 2)), "Linear"),
        (with_buffer, r"net\.mean"),
        (with_other_weight, r"net\.0\.weight"),
        (with_quantizer, "must not round"),
        (prepared_windows, "must not round"),
        (lambda: 3, "net"),
    ],
)
def test_what_a_file_cannot_hold(net: Any, named: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=named):
        fs.save(net(), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def edited(net: dict[str, Any], way: str) -> Any:
    """A description that is not of the tensors, or of nothing."""
    last = net["layers"][-1]
    if way == "list":
        return [net]
    if way == "huge":
        last["settings"]["in_features"] = 10**12
    elif way == "kind":
        last["kind"] = "Popen"
    elif way == "missing":
        del last["settings"]["steps"]
    elif way == "deep":
        for _ in range(100):
            net = {"kind": "Sequential", "names": ["0"], "parts": [net]}
    elif way == "wide":
        net["layers"] = [{"kind": "Identity"}] * 5000
    elif way == "config":
        net["config"] = {"foo": 1}
    elif way == "normalization":
        last["settings"]["normalization"] = {"kind": "Identity"}
    return net


WAYS = ["list", "huge", "kind", "missing", "deep", "wide", "config", "normalization"]


@pytest.mark.parametrize("way", WAYS)
def test_damaged_descriptions(way: str, tmp_path: Path) -> None:
    fs.save(stack(), tmp_path / "net")
    file = tensors.read(tmp_path / "net")
    metadata = {**file.metadata, "net": json.dumps(edited(json.loads(file.metadata["net"]), way))}
    (tmp_path / "net").write_bytes(tensors.dumps(file.tensors, metadata))
    with pytest.raises(ValueError, match="net is a damaged net"):
        fs.load(tmp_path / "net")


def test_damaged_bytes_and_other_files(tmp_path: Path) -> None:
    fs.save(built("64-10", readout="first-spike"), tmp_path / "net")
    raw = (tmp_path / "net").read_bytes()
    size = 8 + int.from_bytes(raw[:8], "little")
    damaged = [raw[:-1], raw[:100], b"", raw[:size].replace(b"64", b"65") + raw[size:], raw.replace(b'\\"kind', b'\\"kund')]
    for number, content in enumerate(damaged):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(ValueError, match="bad"):
            pytest.fail(f"{number}: {fs.load(tmp_path / 'bad')}")
    (tmp_path / "other").write_bytes(tensors.dumps({"x": torch.zeros(1)}, {"format": "other"}))
    with pytest.raises(ValueError, match="other"):
        fs.load(tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        fs.load(tmp_path / "missing")
