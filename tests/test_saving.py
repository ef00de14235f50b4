"""`firstspike.save` and `firstspike.load`: the same net from one file, the same bytes for the same net."""

from __future__ import annotations

import contextlib
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import firstspike as fs
from firstspike import models, train
from firstspike import nn as layers
from firstspike._base import tensors
from firstspike.surrogate import rectangle

from .samples import generator


def own_stack(**options: Any) -> models.TTFSNet:
    """A net that no string makes: other settings in each layer, a threshold per neuron, pairs of sizes."""
    g = generator(0)
    stack = [
        layers.DirectConv2d(2, 5, (3, 1), stride=(1, 2), steps=6, normalization="channel", generator=g),
        layers.EarliestPool2d(2),
        layers.TTFSConv2d(5, 4, (1, 3), padding=(0, 1), steps=6, decay=0.75, affine="layer", generator=g),
        layers.TTFSLinear(4 * 2 * 2, 7, steps=6, avg_pool=1, surrogate=rectangle(0.5), bias=False, generator=g),
        layers.Integrate(7, 3, steps=6, dropout=0.25, decay=0.5, generator=g),
    ]
    stack[2].threshold = nn.Parameter(torch.rand(4, generator=g) + 0.5)
    stack[3].threshold = torch.rand(7, generator=g) + 0.5
    return models.TTFSNet(stack, encoder="direct", readout="membrane-mean", input_shape=(2, 6, 9), **options)


def images(seed: int = 1) -> torch.Tensor:
    return torch.rand(5, 2, 6, 9, generator=generator(seed))


@pytest.mark.parametrize("spec", ["own", "64-30-10", "4C3-AP2-20-10", "64-10"])
def test_round_trip(spec: str, tmp_path: Path) -> None:
    if spec == "own":
        net, x = own_stack(), images()
    else:
        readout = "twd-exp" if spec == "64-10" else "membrane"
        net = models.build(spec, input_shape=(1, 8, 8), steps=8, readout=readout, generator=generator(0))
        x = torch.rand(5, 1, 8, 8, generator=generator(1))
    state = torch.get_rng_state()
    fs.save(net, tmp_path / "net")
    loaded = fs.load(tmp_path / "net")
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(loaded, models.TTFSNet) and not loaded.training and repr(loaded) == repr(net.eval())
    assert torch.equal(loaded(x), net(x)) and loaded.spec == net.spec
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in net.named_parameters()]
    fs.save(loaded, tmp_path / "again")
    assert (tmp_path / "net").read_bytes() == (tmp_path / "again").read_bytes()


def test_a_chain_of_layers(tmp_path: Path) -> None:
    net = nn.Sequential(
        layers.LatencyEncoder(8, "log"),
        nn.Flatten(),
        nn.Sequential(layers.TTFSLinear(12, 5, steps=8, generator=generator(0)), nn.Identity()),
        layers.Integrate(5, 3, steps=8, generator=generator(1)),
        layers.MembraneReadout("weighted"),
    )
    fs.save(net, tmp_path / "net")
    x = torch.rand(4, 12, generator=generator(2))
    assert torch.equal(fs.load(tmp_path / "net")(x), net(x))


def test_names_of_a_chain_are_kept(tmp_path: Path) -> None:
    inner = nn.Sequential(OrderedDict(hidden=layers.TTFSLinear(8, 6, steps=4), out=layers.Integrate(6, 3, steps=4)))
    chain = nn.Sequential(OrderedDict(first=layers.DirectLinear(16, 8, steps=4), rest=inner)).eval()
    chain.add_module("readout", layers.MembraneReadout())
    fs.save(chain, tmp_path / "chain")
    again = fs.load(tmp_path / "chain")
    x = torch.rand(5, 16, generator=generator(1))
    assert torch.equal(again(x), chain(x))
    assert list(again.state_dict()) == list(chain.state_dict()) and again.rest.hidden.steps == 4
    fs.save(nn.ModuleList(chain.rest), tmp_path / "list")
    assert [type(part) for part in fs.load(tmp_path / "list")] == [layers.TTFSLinear, layers.Integrate]


def test_tensors_that_no_layer_of_ours_has_are_refused(tmp_path: Path) -> None:
    def chain() -> nn.Sequential:
        return nn.Sequential(layers.DirectLinear(16, 8, steps=4), layers.Integrate(8, 3, steps=4))

    more, less, other = chain(), chain(), chain()
    more.register_buffer("mean", torch.zeros(16))
    del less[1].bias
    less[1].bias = None
    other[0].weight = nn.Parameter(torch.zeros(8, 15))
    for net, message in (
        (more, r"got net\.mean"),
        (other, r"net\.0\.weight must have shape \(8, 16\), .*got \(8, 15\)"),
    ):
        with pytest.raises(TypeError, match=message):
            fs.save(net, tmp_path / "net")
    assert not list(tmp_path.iterdir())
    fs.save(less, tmp_path / "net")
    assert fs.load(tmp_path / "net")[1].bias is None


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(tensors.dumps({"x": torch.zeros(1)}, {"format": "other"}))
    with pytest.raises(ValueError, match="other is no net of firstspike.save, or one of a later version"):
        fs.load(tmp_path / "other")
    with pytest.raises(OSError, match="missing"):
        fs.load(tmp_path / "missing")


class Odd(nn.Module):
    """A part that is not ours."""


def test_parts_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="net must be made of firstspike's layers, got Odd at net.1"):
        fs.save(nn.Sequential(nn.Identity(), Odd()), tmp_path / "net")
    layer = layers.TTFSLinear(2, 2, steps=4)
    layer.quantizer = Odd()
    with pytest.raises(TypeError, match="net must have no quantizer, got Odd at net"):
        fs.save(layer, tmp_path / "net")
    with pytest.raises(TypeError, match="net must be a module, got int"):
        fs.save(3, tmp_path / "net")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_layer_that_occurs_twice_becomes_two(tmp_path: Path) -> None:
    layer = layers.TTFSLinear(5, 5, steps=4)
    net = nn.Sequential(layer, nn.Identity(), layer)
    fs.save(net, tmp_path / "net")
    found = fs.load(tmp_path / "net")
    x = fs.encode.latency(torch.rand(7, 5), steps=4)
    assert torch.equal(found(x).times, net(x).times) and len(list(found.parameters())) == 2 * len(
        list(net.parameters())
    )


def edited(net: dict[str, Any], way: str) -> Any:
    """A description that is not that of the tensors, or none at all."""
    if way == "list":
        return [net]
    layer = net["layers"][-1]
    if way == "huge":
        layer["settings"]["in_features"] = 10**12
    elif way == "kind":
        layer["kind"] = "Popen"
    elif way == "missing":
        del layer["settings"]["gain"]
    elif way == "deep":
        for _ in range(100):
            net = {"kind": "Sequential", "parts": [net]}
    elif way == "steps":
        layer["settings"]["steps"] = 7
    elif way == "config":
        net["config"] = {"foo": 1}
    elif way == "normalization":
        layer["settings"]["normalization"] = {"kind": "Identity"}
    return net


@pytest.mark.parametrize("way", ["list", "huge", "kind", "missing", "deep", "steps", "config", "normalization"])
def test_damaged_descriptions(way: str, tmp_path: Path) -> None:
    fs.save(own_stack(), tmp_path / "net")
    file = tensors.read(tmp_path / "net")
    metadata = {**file.metadata, "net": json.dumps(edited(json.loads(file.metadata["net"]), way))}
    (tmp_path / "net").write_bytes(tensors.dumps(file.tensors, metadata))
    with pytest.raises(ValueError, match="net is a damaged net"):
        fs.load(tmp_path / "net")


@pytest.mark.parametrize("standardize", [False, True])
def test_the_net_of_a_run_with_scaled_input_is_warned_of(standardize: bool, tmp_path: Path) -> None:
    """The net alone would be given images on another scale than those that it was trained on."""
    config = train.Config(data="digits", spec="64-8-10", steps=4, epochs=1, limit=100, standardize=standardize)
    trained = train.fit(config, directory=tmp_path, progress=False).trained
    told = pytest.warns(UserWarning, match=r"train\.load_model") if standardize else contextlib.nullcontext()
    for path in (tmp_path, tmp_path / "model.safetensors"):
        with told:
            net = fs.load(path)
        x = torch.rand(3, 1, 8, 8, generator=generator(0))
        assert torch.equal(net(x), trained.model(x))


def other_code(*_: Any) -> None:
    """A forward hook."""


def test_hooks_that_a_file_does_not_hold_are_warned_of(tmp_path: Path) -> None:
    net = models.mlp("16-8-4", steps=4)
    net.layers[0].register_forward_hook(other_code)
    with pytest.warns(UserWarning, match=r"net\.layers\.0 has forward hooks, which the file leaves out"):
        fs.save(net, tmp_path / "net")
