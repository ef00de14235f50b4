"""Short texts by which `fit` tells the objects given to it in Python from others of their kind; code is named, not compared."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .._base.files import sha256
from .._base.modules import uncompiled

_OF_TORCH = frozenset(vars(nn.Module()))
_LONGEST = 200  # characters of a text that is kept as it is


def fingerprint(value: Any, learned: Collection[nn.Parameter] = ()) -> str:
    """A value by what it holds: a module by its class, numbers, texts and tensors, a partial by its function and arguments.

    learned: parameters that training changes, which tell nothing.
    """
    text = _text(value, learned)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}... (sha256 {sha256(text.encode())[:16]})"


def tensors_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A text for tensors of these names, types, shapes and bits."""
    lines = []
    for name, value in sorted(tensors.items()):
        plain = torch.view_as_real(value) if value.is_complex() else value
        raw = plain.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        lines.append(f"{name} {value.dtype} {list(value.shape)} {sha256(raw)}")
    return f"sha256 {sha256(chr(10).join(lines).encode())[:16]}"


def optimizer_fingerprint(optimizer: torch.optim.Optimizer) -> dict[str, str]:
    """An optimizer by its class and by what its groups hold besides parameters: "optimizer.<group>.<name>"."""
    groups = optimizer.param_groups
    found = {"optimizer": _name(optimizer), "optimizer.groups": str(len(groups))}
    for index, group in enumerate(groups):
        found |= {f"optimizer.{index}.{name}": fingerprint(value) for name, value in group.items() if name != "params"}
    return found


def settings_of(model: nn.Module) -> dict[str, str]:
    """The settings of a net that are no tensors and that no checkpoint holds, of torch's modules and ours, by name."""
    model = uncompiled(model)
    found = {"state_dict": str(list(model.state_dict()))}
    for name, module in model.named_modules():
        if type(module).__module__.startswith(("torch.nn.", "firstspike.")):
            for key, value in vars(module).items():
                if key not in _OF_TORCH and not isinstance(value, (Tensor, nn.Module)):
                    found[f"{name}.{key}" if name else key] = repr(value)
    return found


def _text(value: Any, learned: Collection[nn.Parameter]) -> str:
    if isinstance(value, functools.partial):
        return f"{_text(value.func, learned)}({_arguments(value.args, value.keywords, learned)})"
    if isinstance(value, nn.Module):
        return _module(uncompiled(value), learned)
    if isinstance(value, Tensor):
        return repr(value.item()) if value.numel() == 1 else tensors_fingerprint({"": value})
    if isinstance(value, Mapping):
        return "{" + _arguments((), {str(name): item for name, item in value.items()}, learned) + "}"
    if isinstance(value, (tuple, list)):
        return f"[{_arguments(value, {}, learned)}]"
    return repr(value) if value is None or isinstance(value, (bool, int, float, str)) else _name(value)


def _arguments(values: Collection[Any], named: Mapping[str, Any], learned: Collection[nn.Parameter]) -> str:
    parts = [_text(value, learned) for value in values]
    return ", ".join(parts + [f"{name}={_text(value, learned)}" for name, value in sorted(named.items())])


def _module(module: nn.Module, learned: Collection[nn.Parameter]) -> str:
    facts = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "training"}
    held = {**dict(module.named_buffers(recurse=False)), **dict(module.named_parameters(recurse=False))}
    constant = {name: value for name, value in held.items() if not any(value is one for one in learned)}
    return f"{_name(module)}({_arguments((), facts | dict(module.named_children()) | constant, learned)})"


def _name(value: Any) -> str:
    """Of a function, of a class, or of the class of an object."""
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
