"""What a call of a module does besides its class of ours: who reads a layer's tensors and does not call it must know."""

from __future__ import annotations

import warnings

from torch import nn


def has_own_forward(module: nn.Module) -> bool:
    """Whether a call runs other code than the class of ours, or of torch's, that the module is of or derived from.

    A module that is derived from `torch.nn.Module` alone is none of these: False, its kind is for the caller to refuse.
    """
    known: type[nn.Module] = next(kind for kind in type(module).__mro__ if _is_known(kind.__module__))
    return "forward" in vars(module) or (known is not nn.Module and type(module).forward is not known.forward)


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given, of the one that it made; whatever else as it is."""
    inner = module._modules.get("_orig_mod") if isinstance(module, nn.Module) else None
    return module if inner is None else inner


def has_hooks(module: nn.Module) -> bool:
    """Whether it has forward hooks, which may change what a call gives; those of firstspike and torch (pruning) do not."""
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    return any(not _is_known(getattr(hook, "__module__", None) or "") for hook in hooks)


def warn_of_hooks(module: nn.Module, name: str, reader: str) -> None:
    """Warn of forward hooks in what the caller's caller was given by the user."""
    if has_hooks(module):
        warnings.warn(f"{name} has forward hooks, which {reader} leaves out", stacklevel=4)


def _is_known(place: str) -> bool:
    return place.partition(".")[0] in ("firstspike", "torch")
