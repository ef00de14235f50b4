"""Any net of firstspike's layers in one file: tensors in safetensors, what it is built of in JSON, no pickle.

The same net gives the same bytes. `train.load_model` reads the files of a training run, and `load` reads both.
"""

from __future__ import annotations

import json
import os
from typing import Any

import torch
from torch import Generator, Tensor, nn

from . import _checks, _safetensors, models
from . import nn as fs
from ._files import write_atomic
from ._own_code import has_own_forward
from .surrogate import Surrogate

__all__ = ["load", "save"]

FORMAT, VERSION = "firstspike-net", 1
_DEPTH = 32  # modules within modules
_KINDS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        fs.DirectConv2d,
        fs.DirectLinear,
        fs.EarliestPool2d,
        fs.FirstSpike,
        fs.Integrate,
        fs.LatencyEncoder,
        fs.MaxPool2d,
        fs.MembraneReadout,
        fs.SpikeInput,
        fs.TTFSConv2d,
        fs.TTFSLinear,
        fs.TTFSNode,
        fs.TemporalWeighting,
        fs.WeightNormalization,
    )
}
_CHAINS: dict[str, type[nn.Module]] = {"Sequential": nn.Sequential, "ModuleList": nn.ModuleList}


def save(net: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a net to one file that `load` reads: its tensors, and what it is built of; equal nets give equal bytes.

    net: a `models.TTFSNet`, a layer of `firstspike.nn`, or a chain of them: `torch.nn.Sequential` or `ModuleList` (of chains,
    too), `Identity` and `Flatten`. Raises TypeError naming the part of another kind (save its state_dict instead); OSError where
    the file cannot be written.

    Examples:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> save(models.mlp("64-32-10", steps=8), path)
        >>> load(path).spec
        '64-32-10'
    """
    _checks.instance("net", net, nn.Module, "a module")
    target = _checks.path("path", path)
    try:
        described = json.dumps(describe(net, "net"), sort_keys=True)
    except TypeError as error:
        raise TypeError(f"{error}; net.state_dict() holds the tensors of any net") from None
    metadata = {"format": FORMAT, "version": str(VERSION), "net": described}
    write_atomic(target, _safetensors.dumps(net.state_dict(), metadata))


def load(path: str | os.PathLike[str]) -> nn.Module:
    """The net of a file of `save`, or of a run of `firstspike train` (its folder or model file): on the CPU, in evaluation.

    Raises OSError where there is no file, ValueError where it is damaged or none of ours.

    Examples:
        >>> load("nothing-here.safetensors")
        Traceback (most recent call last):
            ...
        FileNotFoundError: ...
    """
    if _checks.path("path", path).is_dir():
        return _trained(path)
    file = _safetensors.read(path)
    if file.metadata.get("format") == "firstspike":
        return _trained(path)
    if file.metadata.get("format") != FORMAT or file.metadata.get("version") != str(VERSION):
        raise ValueError(f"{os.fspath(path)} is no net of firstspike.save, or one of a later version")
    try:
        described = json.loads(file.metadata["net"])
        with torch.device("meta"):  # a small file must not ask for much memory
            shapes = {name: value.shape for name, value in rebuild(described).state_dict().items()}
        if shapes != {name: value.shape for name, value in file.tensors.items()}:
            raise ValueError("its tensors do not fit what it says it is built of")
        net = rebuild(described)
        net.load_state_dict(file.tensors)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} is a damaged net ({error})") from error
    return net.eval()


def _trained(path: str | os.PathLike[str]) -> nn.Module:
    from .train import load_model  # the heavier part of the package

    return load_model(path).model


def describe(module: nn.Module, name: str = "net") -> dict[str, Any]:
    """What a module is built of, without its tensors, as JSON can hold it; TypeError naming a part of another kind."""
    kind = type(module)
    if has_own_forward(module):
        raise TypeError(
            f"net must be made of firstspike's layers, but {kind.__name__} at {name} has a forward of its own"
        )
    if kind is models.TTFSNet:
        assert isinstance(module, models.TTFSNet)
        return {
            "kind": "TTFSNet",
            "layers": [describe(layer, f"{name}.layers.{n}") for n, layer in enumerate(module.layers)],
            "encoder": describe(module.encoder, f"{name}.encoder"),
            "readout": describe(module.readout, f"{name}.readout"),
            "input_shape": list(module.input_shape),
            "config": module.described,
        }
    if kind is fs.Residual:
        assert isinstance(module, fs.Residual)
        parts = [describe(part, f"{name}.layers.{n}") for n, part in enumerate(module.layers)]
        return {"kind": "Residual", "parts": parts, "settings": module.settings()}
    if kind.__name__ in _CHAINS and kind is _CHAINS[kind.__name__]:
        return {
            "kind": kind.__name__,
            "parts": [describe(part, f"{name}.{n}") for n, part in module.named_children()],
        }
    if kind is nn.Identity:
        return {"kind": "Identity"}
    if kind is nn.Flatten:
        return {"kind": "Flatten", "settings": {"start_dim": module.start_dim, "end_dim": module.end_dim}}
    if _KINDS.get(kind.__name__) is not kind:
        raise TypeError(f"net must be made of firstspike's layers, got {kind.__name__} at {name}")
    settings: dict[str, Any] = module.settings()  # type: ignore[operator]
    if isinstance(module, fs.Synapse):
        if module.quantizer is not None:
            raise TypeError(
                f"net must have no quantizer, got {type(module.quantizer).__name__} at {name}; fold() puts it in"
            )
        normal = module.normalization
        settings["normalization"] = None if normal is None else describe(normal, f"{name}.normalization")
        settings["gain"] = module.gain
    return {"kind": kind.__name__, "settings": settings}


def rebuild(described: Any, depth: int = 0) -> nn.Module:
    """The module of a description, its weights drawn anew."""
    if not isinstance(described, dict) or depth > _DEPTH:
        raise ValueError("a part is no module, or lies too deep")
    kind, settings = described["kind"], dict(described.get("settings", {}))
    if kind == "TTFSNet":
        net = models.TTFSNet(
            [rebuild(layer, depth + 1) for layer in described["layers"]],
            encoder=rebuild(described["encoder"], depth + 1),
            readout=rebuild(described["readout"], depth + 1),  # type: ignore[arg-type]  # checked there
            input_shape=tuple(described["input_shape"]),
        )
        net.describe(described["config"])
        return net
    if kind == "Residual":
        return fs.Residual([rebuild(part, depth + 1) for part in described["parts"]], **settings)
    if kind in _CHAINS:
        parts = [rebuild(part, depth + 1) for part in described["parts"]]
        return nn.Sequential(*parts) if kind == "Sequential" else nn.ModuleList(parts)
    if kind in ("Identity", "Flatten"):
        return nn.Identity() if kind == "Identity" else nn.Flatten(**settings)
    made = _KINDS[kind]
    if issubclass(made, fs.Synapse):
        return _layer(made, settings)
    if "surrogate" in settings:
        settings["surrogate"] = Surrogate(**settings["surrogate"])
    return made(**settings)


def _layer(kind: type[fs.Synapse], settings: dict[str, Any]) -> fs.Synapse:
    gain, normal = settings.pop("gain"), settings.pop("normalization")
    threshold: Any = settings.get("threshold")
    if "surrogate" in settings:
        settings["surrogate"] = Surrogate(**settings["surrogate"])
    if isinstance(threshold, str):
        settings["threshold"] = 1.0
    generator = None if torch.get_default_device().type == "meta" else Generator()  # torch's own stays where it is
    layer = kind(**settings, generator=generator)
    layer.gain = _checks.positive("gain", gain)
    layer.normalization = None if normal is None else rebuild(normal)
    if isinstance(threshold, str):
        ones: Tensor = torch.ones(layer.weight.shape[0], dtype=torch.float32)
        layer.threshold = nn.Parameter(ones) if threshold == "parameter" else ones
    return layer
