"""The arguments of `models.build` that describe a net as it is now."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

#: Settings of layers that `models.build` gives to all of them.
_SHARED = ("threshold", "decay", "surrogate", "normalization", "affine", "bias")


def updated(net: nn.Module, config: dict[str, Any]) -> dict[str, Any]:
    """A net's config with the settings that its layers have now; ValueError where `models.build` could not make them."""
    config = copy.deepcopy(config)
    initial = config["threshold"]
    settings = [parts for _, parts in _settings(net)]
    for name in _SHARED:
        values = [part[name] for part in settings if name in part]
        if values and all(value == values[0] for value in values):
            config[name] = values[0]
    if config.get("learn_threshold") and config["threshold"] == "parameter":
        config["threshold"] = initial
    rates = {part["dropout"] for part in settings if part.get("dropout")}
    config["dropout"] = rates.pop() if len(rates) == 1 else config["dropout"] if rates else 0.0
    from .builder import from_config  # it imports nets

    if isinstance(config["threshold"], str):
        raise ValueError("a net with a threshold per neuron has no config of models.build; firstspike.save stores it")
    with torch.device("meta"):
        made = from_config(config)
    changed = _kinds(net).items() ^ _kinds(made).items()
    if changed:
        raise _refused(f"its module {min(name for name, _ in changed)}")
    for (name, ours), (_, theirs) in zip(_settings(net), _settings(made), strict=True):
        values = [key for key in ours if ours[key] != theirs.get(key)]
        if values:
            raise _refused(f"{name}: {', '.join(values)}")
    return config


def _refused(what: str) -> ValueError:
    return ValueError(
        f"net was changed in a way that models.build cannot describe ({what}); firstspike.save stores any net"
    )


def _kinds(net: nn.Module) -> dict[str, type[nn.Module]]:
    """The class of every module within the net by its name."""
    return {name: type(module) for name, module in net.named_modules() if name}


def _settings(net: nn.Module) -> list[tuple[str, dict[str, Any]]]:
    """Name and settings of every module that has some, its type included; `dropout` is left out where it is 0."""
    found = []
    for name, module in net.named_modules():
        if hasattr(module, "settings"):
            found.append((name, {"type": type(module).__name__, **module.settings()}))
    return found
