"""Modules as they are read by structure: plain copies, the module behind `torch.compile`, trained tensors, evaluation mode."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize, prune

Module = TypeVar("Module", bound=nn.Module)
# The functions of torch.nn.utils that remove the older norms, by the class of their hook; by name, as torch may drop them.
_REMOVERS = {"WeightNorm": "remove_weight_norm", "SpectralNorm": "remove_spectral_norm"}
# The kinds of torch that are read by structure, and the children of a module that compute its weights: these are called.
_OF_TORCH = (nn.Sequential, nn.ModuleList, nn.Identity, nn.Flatten, nn.Dropout)
_COMPUTING = ("parametrizations", "normalization", "quantizer")


def plain_copy(net: Module) -> Module:
    """A deep copy in evaluation mode whose weights are plain parameters, for code that reads a net by its structure.

    Pruned and parametrized weights have the values of the net's next call. Hooks of `firstspike.inspect` are not copied.
    A module of `torch.compile` counts as the module that was compiled. The net itself is not changed.

    Raises TypeError naming a part that does more than its class says: its type is neither one of firstspike's nor torch's
    Sequential, ModuleList, Identity, Flatten or Dropout, or its forward was replaced, or it has forward hooks.
    """
    net = uncompiled(net)  # type: ignore[assignment]
    memo: dict[int, Any] = {}
    for name, module in _structure(net):
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        kind = parametrize.type_before_parametrizations(module)
        reason = None
        if kind not in _OF_TORCH and not _is_ours(kind):
            reason = f"is a {kind.__module__}.{kind.__qualname__}"
        elif "forward" in vars(module):
            reason = "has a forward set on it"
        elif not all(_is_ours(hook) or _computes_weight(hook) for hook in hooks):
            reason = "has forward hooks"
        if reason is not None:
            wanted = ", ".join(kind.__name__ for kind in _OF_TORCH)
            raise TypeError(
                f"net must be made of firstspike's own modules, unchanged, and of torch's {wanted}, "
                f"but {name or 'the net itself'} {reason}"
            )
        memo |= {id(hook): hook for hook in hooks if _is_ours(hook)}
        # `deepcopy` refuses what a hook computed with a graph.
        memo |= {id(x): x.detach() for x in vars(module).values() if isinstance(x, torch.Tensor) and not x.is_leaf}
    copied = copy.deepcopy(net, memo).eval()
    for _, module in _structure(copied):
        make_permanent(module)
        module._forward_pre_hooks.clear()
        module._forward_hooks.clear()
    return copied


def make_permanent(module: nn.Module) -> None:
    """Replace tensors that torch's pruning, norms and parametrizations recompute in each call by plain ones, in place."""
    hooks: list[Any] = [*module._forward_pre_hooks.values()]
    for hook in hooks:
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)
        elif _computes_weight(hook):
            getattr(torch.nn.utils, _REMOVERS[type(hook).__name__])(module, hook.name)
    if parametrize.is_parametrized(module):
        # Not torch's remove_parametrizations: it changes the class, which a copy shares with its original.
        parametrized: Any = module.parametrizations
        values = {name: getattr(module, name).detach().clone() for name in parametrized}
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value))


def _structure(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """A module and all in it by name, without what computes weights."""
    yield name, module
    for key, part in module._modules.items():
        if part is not None and key not in _COMPUTING:
            yield from _structure(part, f"{name}.{key}" if name else key)


def _is_ours(value: object) -> bool:
    return (getattr(value, "__module__", None) or "").partition(".")[0] == "firstspike"


def _computes_weight(hook: object) -> bool:
    """Whether a hook is one of torch's that compute a weight before each call."""
    return isinstance(hook, prune.BasePruningMethod) or type(hook).__name__ in _REMOVERS


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that was given to `torch.compile`, for the module that it returned; any other value unchanged."""
    inner = getattr(module, "_orig_mod", None) if isinstance(module, nn.Module) else None
    return module if inner is None else inner


def trained_parameters(module: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters from which torch's pruning, norms or parametrizations compute the tensor; the parameter itself if plain."""
    if parametrize.is_parametrized(module, name):
        parametrized: Any = module.parametrizations
        return list(parametrized[name].parameters(recurse=False))
    parameters = (module._parameters.get(name + ending) for ending in ("", "_orig", "_g", "_v"))
    return [parameter for parameter in parameters if parameter is not None]


def class_name(module: nn.Module) -> str:
    """The name of a module's class, without the parametrizations of torch."""
    return parametrize.type_before_parametrizations(module).__name__


@contextlib.contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Within, the net is in evaluation mode; afterwards, also after an error, each of its modules is in its own again."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
