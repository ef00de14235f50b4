"""Nets of Brevitas as nets of torch: layers with the weights that act, activations as `Levels`. Brevitas is not imported."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .levels import Levels

_LAYERS = {"QuantConv2d": nn.Conv2d, "QuantConv1d": nn.Conv1d, "QuantLinear": nn.Linear}
_ACTIVATIONS = ("QuantReLU", "QuantIdentity")


def is_brevitas(module: nn.Module) -> bool:
    """True if a module is one of Brevitas' layers or activations."""
    return type(module).__module__.startswith("brevitas.nn")


@torch.no_grad()
def plain(module: nn.Module) -> nn.Module:
    """Return a copy of a net in which torch's layers and `Levels` stand for Brevitas' modules; other nets as they are.

    A layer's `weight_scale`, float32 [1] or [O], is the value of an integer weight of 1. Raises ValueError that names a module
    of another kind, or a quantiser without a counterpart.
    """
    if not any(map(is_brevitas, module.modules())):
        return module
    module = copy.deepcopy(module).eval()
    if is_brevitas(module):
        return _plain("module", module)
    for name, parent in list(module.named_modules()):
        for key, child in list(parent.named_children()):
            if is_brevitas(child) and not is_brevitas(parent):
                setattr(parent, key, _plain(f"{name}.{key}".lstrip("."), child))
    return module


def _plain(name: str, module: Any) -> nn.Module:
    kind = type(module).__name__
    if kind in _ACTIVATIONS:
        levels = _levels(name, module.act_quant, kind == "QuantReLU")
        return nn.ReLU() if levels is None and kind == "QuantReLU" else levels or nn.Identity()
    if kind not in _LAYERS:
        raise ValueError(
            f"module cannot be converted: {name} is a {kind}; use QuantConv2d, QuantLinear, QuantReLU and QuantIdentity"
        )
    inputs, outputs = (_levels(name, getattr(module, end, None), False) for end in ("input_quant", "output_quant"))
    parts = [part for part in (inputs, _layer(name, kind, module), outputs) if part is not None]
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def _layer(name: str, kind: str, module: Any) -> nn.Module:
    biased = module.bias is not None
    if biased and getattr(module.bias_quant, "is_quant_enabled", False):
        raise ValueError(f"module cannot be converted: {name} rounds its bias; set bias_quant to None, the chip rounds it anyway")
    if kind == "QuantLinear":
        layer: nn.Module = nn.Linear(module.in_features, module.out_features, bias=biased)
    else:
        sizes = {key: getattr(module, key) for key in ("stride", "padding", "dilation", "groups", "padding_mode")}
        layer = _LAYERS[kind](module.in_channels, module.out_channels, module.kernel_size, bias=biased, **sizes)
    weight = module.quant_weight() if module.weight_quant.is_quant_enabled else module.weight
    layer.weight = nn.Parameter(_value(weight).detach().float())
    if biased:
        layer.bias = nn.Parameter(module.bias.detach().float())
    if hasattr(weight, "scale"):
        if bool(torch.as_tensor(weight.zero_point).any()):
            raise ValueError(f"module cannot be converted: {name} has weights with a zero point; use a symmetric quantiser")
        layer.register_buffer("weight_scale", torch.as_tensor(weight.scale).detach().float().reshape(-1))
    return layer


def _levels(name: str, proxy: Any, rectifies: bool) -> Levels | None:
    """The activation quantiser of a proxy; None where it is off."""
    if not getattr(proxy, "is_quant_enabled", False):
        return None
    if str(proxy.rounding_mode).upper() != "ROUND":
        raise ValueError(f"module cannot be converted: {name} rounds by {proxy.rounding_mode}; use the rounding mode ROUND")
    scale, zero, bits = (torch.as_tensor(value) for value in (proxy.scale(), proxy.zero_point(), proxy.bit_width()))
    if bool(zero.any()):
        raise ValueError(f"module cannot be converted: {name} has a zero point of {zero.max().item():g}; use one of 0")
    signed, narrow = bool(proxy.is_signed), bool(proxy.is_narrow_range)
    whole = 1 << int(bits)
    high = whole // 2 - 1 if signed else whole - 1 - narrow
    low = 0 if rectifies or not signed else -(whole // 2) + narrow
    return Levels(scale, low, high)


def _value(weight: Any) -> Tensor:
    value: Tensor = getattr(weight, "value", weight)
    return value
