"""Nets as descriptions that JSON can hold (kinds and settings of modules), and back; their tensors are stored separately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from .. import nn as fs
from .._base import checks
from .._base.modules import has_own_forward
from ..surrogate import Surrogate
from .net import TTFSNet

FORMAT, VERSION = "firstspike-net", 1  # of the files that hold one
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


def describe(module: nn.Module, name: str = "net") -> dict[str, Any]:
    """What a module is built of, without its tensors, as JSON can hold it.

    Raises TypeError naming a part of another kind, or a tensor that a module so built would not have.
    """
    described = _describe(module, name)
    wanted, present = planned(described), _shapes(module.state_dict())
    for key in [*present, *wanted]:
        if wanted.get(key) != present.get(key):
            raise TypeError(_misfit(f"{name}.{key}", wanted.get(key), present.get(key)))
    return described


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(getattr(value, "shape", ())) for name, value in tensors.items()}


def planned(described: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of the module of a description, without memory for them."""
    with torch.device("meta"):
        return _shapes(rebuild(described).state_dict())


def _misfit(name: str, wanted: tuple[int, ...] | None, present: tuple[int, ...] | None) -> str:
    """What is wrong with a tensor. wanted: its shape by the description; present: its shape in the net; None: it is not there."""
    if present is None:
        return f"net must have the tensors of firstspike's layers, but {name} is missing"
    if wanted is not None:
        return f"{name} must have shape {wanted}, as its layer's settings say, got {present}"
    made = name.endswith(("_orig", "_mask", "_g", "_v", "_u"))
    hint = (
        "; make permanent what torch.nn.utils put on the weight, as prune.remove and remove_weight_norm do"
        if made
        else ""
    )
    return f"net must have the tensors of firstspike's layers alone, got {name}{hint}"


def _describe(module: nn.Module, name: str) -> dict[str, Any]:
    kind = type(module)
    if has_own_forward(module):
        raise TypeError(
            f"net must be made of firstspike's layers, but {kind.__name__} at {name} has a forward of its own"
        )
    if kind is TTFSNet:
        assert isinstance(module, TTFSNet)
        return {
            "kind": "TTFSNet",
            "layers": [_describe(layer, f"{name}.layers.{n}") for n, layer in enumerate(module.layers)],
            "encoder": _describe(module.encoder, f"{name}.encoder"),
            "readout": _describe(module.readout, f"{name}.readout"),
            "input_shape": list(module.input_shape),
            "config": module.described,
        }
    if kind is fs.Residual:
        assert isinstance(module, fs.Residual)
        parts = [_describe(part, f"{name}.layers.{n}") for n, part in enumerate(module.layers)]
        return {"kind": "Residual", "parts": parts, "settings": module.settings()}
    if kind.__name__ in _CHAINS and kind is _CHAINS[kind.__name__]:
        named = {n: part for n, part in module._modules.items() if part is not None}
        parts = [_describe(part, f"{name}.{n}") for n, part in named.items()]
        described: dict[str, Any] = {"kind": kind.__name__, "parts": parts}
        return described if [*named] == _numbers(parts) else described | {"names": [*named]}
    if kind is nn.Identity:
        return {"kind": "Identity"}
    if kind is nn.Flatten:
        return {"kind": "Flatten", "settings": {"start_dim": module.start_dim, "end_dim": module.end_dim}}
    if parametrize.is_parametrized(module):
        raise TypeError(
            f"net must have no parametrizations of torch, got one at {name}; torch.nn.utils.parametrize.remove_parametrizations "
            "makes it permanent"
        )
    if _KINDS.get(kind.__name__) is not kind:
        raise TypeError(f"net must be made of firstspike's layers, got {kind.__name__} at {name}")
    settings: dict[str, Any] = module.settings()  # type: ignore[operator]
    if isinstance(module, fs.Synapse):
        if module.quantizer is not None:
            raise TypeError(
                f"net must have no quantizer, got {type(module.quantizer).__name__} at {name}; fold() puts it in"
            )
        normal = module.normalization
        settings["normalization"] = None if normal is None else _describe(normal, f"{name}.normalization")
        settings["gain"] = module.gain
    return {"kind": kind.__name__, "settings": settings}


def _numbers(parts: Sequence[Any]) -> list[str]:
    """The names of a chain's parts where they have none of their own."""
    return [str(number) for number in range(len(parts))]


def empty_net(described: Any, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The module of a description, its weights newly drawn; ValueError where the names or shapes of `tensors` do not fit it.

    The shapes are compared before any memory is allocated, so that a small file cannot ask for much of it.
    """
    try:
        if planned(described) != _shapes(tensors):
            raise ValueError("its tensors do not fit its description of the net")
        return rebuild(described)
    except KeyError as error:
        raise ValueError(f"{error} is missing or unknown in its description of the net") from error
    except (TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def rebuild(described: Any, depth: int = 0) -> nn.Module:
    """The module of a description, its weights drawn anew."""
    if not isinstance(described, dict) or depth > _DEPTH:
        raise ValueError("a part is not a module, or is nested too deeply")
    kind, settings = described["kind"], dict(described.get("settings", {}))
    if kind == "TTFSNet":
        net = TTFSNet(
            [rebuild(layer, depth + 1) for layer in described["layers"]],
            encoder=rebuild(described["encoder"], depth + 1),
            readout=rebuild(described["readout"], depth + 1),  # type: ignore[arg-type]  # checked there
            input_shape=tuple(described["input_shape"]),
        )
        config = described["config"]
        if config is not None and not {"spec", "threshold", "dropout"} <= set(config):
            raise ValueError("its config lacks arguments of models.build")
        net.describe(config)
        return net
    if kind == "Residual":
        parts = [rebuild(part, depth + 1) for part in described["parts"]]
        scale = torch.ones(checks.integer("channels", settings.pop("channels", 1), 1, 2**24), dtype=torch.float32)
        return fs.Residual(parts, scale=scale, **settings)
    if kind in _CHAINS:
        parts = [rebuild(part, depth + 1) for part in described["parts"]]
        chain = _CHAINS[kind]()
        for name, part in zip(described.get("names", _numbers(parts)), parts, strict=True):
            chain.add_module(name, part)
        return chain
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
    layer.gain = checks.positive("gain", gain)
    if normal is not None and normal["kind"] != "WeightNormalization":
        raise ValueError(f"a layer's normalization must be a WeightNormalization, got {normal['kind']}")
    layer.normalization = None if normal is None else rebuild(normal)
    if isinstance(threshold, str):
        ones: Tensor = torch.ones(layer.weight.shape[0], dtype=torch.float32)
        layer.threshold = nn.Parameter(ones) if threshold == "parameter" else ones
    return layer
