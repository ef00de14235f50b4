"""One file per net: tensors in safetensors, kinds and settings of its modules in JSON, metadata of its writer; no pickle.

Nets with code that the package does not know have a file of weights without a description (`save_weights`, `load_weights`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from .. import nn as fs
from .._base import checks, tensors
from .._base.files import parse_json, write_atomic
from .._base.modules import plain_copy, uncompiled
from .net import TTFSNet
from .relu import ReluNet, relu_counterpart

FILE = "model.safetensors"  # of the net in the folder of a run
FORMAT, VERSION = "firstspike-net", "1"
# The kinds that their settings describe: classes of `firstspike.nn`, and torch's with the attributes that are settings.
_OTHERS = (fs.FiringLayer, fs.Residual, fs.Synapses)
_KINDS: dict[str, type[nn.Module]] = {
    name: kind for name, kind in vars(fs).items() if isinstance(kind, type) and hasattr(kind, "settings") and kind not in _OTHERS
}
_TORCH: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Identity: (), nn.Flatten: ("start_dim", "end_dim"), nn.Dropout: ("p",),
}  # fmt: skip
_CHAINS: dict[str, type[nn.Module]] = {"Sequential": nn.Sequential, "ModuleList": nn.ModuleList}


def save(net: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
    """Write a net to one file that `load` reads; equal nets give equal bytes.

    Parameters
    ----------
    net : Module
        A `models.TTFSNet` or ReLU counterpart, a layer of `firstspike.nn`, or a Sequential or ModuleList of
        them; of nets with other parts save the `state_dict()`.
        Pruned and parametrized weights are stored as plain ones. A layer that occurs twice becomes two equal ones.
    path, metadata : str or PathLike, mapping
        The file; values by name that JSON can hold, for `models.files.read_metadata`.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
    >>> save(models.mlp("64-32-10", steps=8), path)
    >>> load(path).spec
    '64-32-10'
    """
    checks.instance("net", net, nn.Module, "a module")
    target = checks.path("path", path)
    net = uncompiled(net)
    net = net if isinstance(net, ReluNet) else plain_copy(net)  # a ReluNet has torch's layers
    _write(target, net.state_dict(), describe(net), metadata)


def load(path: str | os.PathLike[str]) -> nn.Module:
    """Read the net of a file of `save`, or of a folder of `firstspike train`: on the CPU, in evaluation mode.

    Parameters
    ----------
    path : a file of `save`, or the folder of a run.

    Raises
    ------
    ValueError : where the file is damaged or does not describe a net.

    Examples
    --------
    >>> load(models.pretrained_file("digits-mlp")).steps
    8
    """
    file, origin = _read(path)
    described = parse_json(file.metadata.get("net", ""), f"the description in {origin}")
    if described is None:
        raise ValueError(f"{origin} holds weights without a description: build their net, and load them into it")
    try:
        return rebuild(described, file.tensors)
    except ValueError as error:
        raise ValueError(f"{origin} is a damaged net ({error})") from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the metadata that `save` stored in a file, or in the file of a run's folder; errors as in `load`.

    Examples
    --------
    >>> sorted(models.files.read_metadata(models.pretrained_file("digits-mlp")))
    ['config', 'data', 'epoch']
    """
    file, origin = _read(path)
    metadata = parse_json(file.metadata.get("metadata", "{}"), f"the metadata of {origin}")
    if not isinstance(metadata, dict):
        raise ValueError(f"the metadata of {origin} must be a table")
    return metadata


def save_weights(net: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
    """Write the tensors of any net without a description; `load_weights` reads them, `load` refuses the file."""
    _write(checks.path("path", path), uncompiled(net).state_dict(), None, metadata)


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors by their names from a file of `save` or `save_weights`, or of a run's folder; errors as in `load`."""
    return _read(path)[0].tensors


def describe(module: nn.Module, name: str = "net") -> dict[str, Any]:
    """Describe a module by kinds and settings that JSON can hold; its tensors are stored separately.

    Raises TypeError naming a part of another kind, or a tensor that `rebuild` would not make.
    """
    described = _describe(module, name)
    expected, present = planned(described), _shapes(module.state_dict())
    for key in [*present, *expected]:
        if expected.get(key) != present.get(key):
            raise TypeError(f"{name}.{key} must have its layer's shape, {expected.get(key)}, got {present.get(key)}")
    return described


def rebuild(described: Any, weights: Mapping[str, Tensor]) -> nn.Module:
    """Build the module of a description with its tensors, on the CPU and in evaluation mode.

    The shapes are compared before memory is allocated, so that a small file cannot ask for much of it.
    Raises ValueError where the description is damaged, or the tensors do not fit it.
    """
    try:
        if planned(described) != _shapes(weights):
            raise ValueError("its tensors do not fit its description of the net")
        net = build(described)
        net.load_state_dict(weights)
    except KeyError as error:
        raise ValueError(f"{error} is missing or unknown in its description of the net") from error
    except (TypeError, AttributeError, RuntimeError, OverflowError) as error:  # RecursionError is a RuntimeError
        raise ValueError(str(error)) from error
    return net.eval()


def planned(described: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of the module of a description, without memory for them."""
    with torch.device("meta"):
        return _shapes(build(described).state_dict())


def _write(path: Path, weights: Mapping[str, Tensor], described: Any, metadata: Mapping[str, Any] | None) -> None:
    facts = {"format": FORMAT, "version": VERSION, "net": json.dumps(described, sort_keys=True)}
    if metadata is not None:
        facts["metadata"] = json.dumps(dict(metadata), sort_keys=True)
    write_atomic(path, tensors.dumps(weights, facts))


def _read(path: str | os.PathLike[str]) -> tuple[tensors.TensorFile, str]:
    path = checks.path("path", path)
    path = path / FILE if path.is_dir() else path
    file = tensors.read(path)
    if (file.metadata.get("format"), file.metadata.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"{path} is not a net of firstspike.save, or of a later version")
    return file, str(path)


def _shapes(weights: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(getattr(value, "shape", ())) for name, value in weights.items()}


def _describe(module: nn.Module, name: str) -> dict[str, Any]:
    kind = type(module)
    if isinstance(module, TTFSNet) and kind is TTFSNet:
        described = {
            "kind": "TTFSNet",
            "layers": [_describe(layer, f"{name}.layers.{n}") for n, layer in enumerate(module.layers)],
            "encoder": _describe(module.encoder, f"{name}.encoder"),
            "readout": _describe(module.readout, f"{name}.readout"),
            "input_shape": list(module.input_shape),
            "config": module._config,
        }
        return described | _described_scaling(module.normalize, name)
    if isinstance(module, fs.Residual) and kind is fs.Residual:
        parts = [_describe(part, f"{name}.layers.{n}") for n, part in enumerate(module.layers)]
        described = {"kind": kind.__name__, "parts": parts, "settings": module.settings()}
        shortcut = module.shortcut
        return described if shortcut is None else described | {"shortcut": _describe(shortcut, f"{name}.shortcut")}
    if _CHAINS.get(kind.__name__) is kind:
        named = {n: _describe(part, f"{name}.{n}") for n, part in module._modules.items() if part is not None}
        return {"kind": kind.__name__, "names": [*named], "parts": [*named.values()]}
    if kind in _TORCH:
        return {"kind": kind.__name__, "settings": {name: getattr(module, name) for name in _TORCH[kind]}}
    if isinstance(module, ReluNet) and kind is ReluNet:
        return {"kind": "ReluNet", "settings": module.settings()} | _described_scaling(module.normalize, name)
    if _KINDS.get(kind.__name__) is not kind:
        raise TypeError(f"net must be made of firstspike's layers, got {kind.__name__} at {name}")
    if getattr(module, "quantizer", None) is not None:
        ways = "its state_dict(), or its program by emulator.save"
        raise TypeError(f"net must not round its weights, as the net of qat.prepare does at {name}: keep {ways}")
    settings: dict[str, Any] = module.settings()  # type: ignore[operator]
    normal = getattr(module, "normalization", None)
    if isinstance(normal, nn.Module):
        settings["normalization"] = _describe(normal, f"{name}.normalization")
    averaging = getattr(module, "averaging", None)
    average = {} if averaging is None else {"average": averaging._asdict()}
    return {"kind": kind.__name__, "settings": settings} | average


def _described_scaling(normalize: nn.Module | None, name: str) -> dict[str, Any]:
    return {} if normalize is None else {"normalize": _describe(normalize, f"{name}.normalize")}


def build(described: Any) -> nn.Module:
    """The module of a description with newly drawn weights, which `rebuild` fills."""
    if not isinstance(described, dict):
        raise ValueError("a part of its description is not a module")
    kind, settings = described["kind"], dict(described.get("settings", {}))
    if kind == "TTFSNet":
        layers, encoder, readout = ([*map(build, described["layers"])], *(build(described[x]) for x in ("encoder", "readout")))
        shape, scaling = tuple(described["input_shape"]), _scaling(described)
        net = TTFSNet(layers, encoder=encoder, readout=readout, input_shape=shape, normalize=scaling)  # type: ignore[arg-type]
        config = described["config"]
        if config is not None and not isinstance(config["spec"], str):
            raise ValueError("config.spec must be a string")
        net._config = config
        return net
    if kind == "Residual":
        scale = torch.ones(checks.integer("channels", settings.pop("channels", 1), 1, 2**24), dtype=torch.float32)
        shortcut: Any = build(described["shortcut"]) if "shortcut" in described else None
        return fs.Residual([build(part) for part in described["parts"]], shortcut, scale=scale, **settings)
    if kind in _CHAINS:
        chain = _CHAINS[kind]()
        for name, part in zip(described["names"], described["parts"], strict=True):
            chain.add_module(name, build(part))
        return chain
    if kind == "ReluNet":
        with torch.random.fork_rng(devices=[]):  # torch's layers draw their first weights from its own generator
            relu = relu_counterpart(**settings)
        relu.normalize = _scaling(described)
        return relu
    if kind in {of_torch.__name__ for of_torch in _TORCH}:
        module: nn.Module = getattr(nn, kind)(**settings)
        return module
    layer = _KINDS[kind]
    if not issubclass(layer, fs.Synapses):
        return layer(**settings)
    normalization = settings.get("normalization", False)
    if normalization is None:
        settings["normalization"] = False
    elif isinstance(normalization, dict):
        normalization = settings["normalization"] = build(normalization)
        if not isinstance(normalization, fs.WeightNormalization):
            raise ValueError(f"a layer's normalization must be a WeightNormalization, got {type(normalization).__name__}")
    # A new generator leaves torch's own where it is; the meta device draws nothing.
    settings["generator"] = None if torch.get_default_device().type == "meta" else Generator()
    module = layer(**settings)
    return fs.average_before(module, **described["average"]) if "average" in described else module


def _scaling(described: dict[str, Any]) -> fs.Normalize | None:
    normalize = build(described["normalize"]) if "normalize" in described else None
    if not isinstance(normalize, fs.Normalize | None):
        raise TypeError("normalize must be a Normalize")
    return normalize
