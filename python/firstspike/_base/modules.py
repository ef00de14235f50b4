"""What a call of a module does beyond the code of its firstspike class: hooks, a forward of its own, parametrizations.

Whatever reads a layer's tensors without calling the layer has to allow for these.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules import module as _modules
from torch.nn.utils import parametrize, prune

from .checks import warn

# torch changes these in place.
HOOKS_OF_ALL_MODULES = (
    _modules._global_forward_hooks,
    _modules._global_forward_pre_hooks,
    _modules._global_backward_hooks,
    _modules._global_backward_pre_hooks,
)
Module = TypeVar("Module", bound=nn.Module)
# The functions of torch.nn.utils that remove the older norms, by the class of their hook; by name, as torch may drop them.
_REMOVERS = {"WeightNorm": "remove_weight_norm", "SpectralNorm": "remove_spectral_norm"}


def has_own_forward(module: nn.Module) -> bool:
    """Whether a call runs another `forward` than that of the firstspike or torch class nearest in the module's ancestry.

    A class derived from `torch.nn.Module` alone gives False: the caller refuses such kinds. A forward set on the module counts.
    """
    known: type[nn.Module] = next(kind for kind in type(module).__mro__ if _is_known(kind.__module__))
    return "forward" in vars(module) or (known is not nn.Module and type(module).forward is not known.forward)


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that was given to `torch.compile`, for the module that it returned; any other value unchanged."""
    inner = getattr(module, "_orig_mod", None) if isinstance(module, nn.Module) else None
    return module if inner is None else inner


def _is_known(module: str) -> bool:
    return module.partition(".")[0] in ("firstspike", "torch")


def has_hooks(module: nn.Module) -> bool:
    """Whether it has forward hooks, which may change what a call gives; those of firstspike and torch (pruning) do not."""
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    return any(not _is_known(getattr(hook, "__module__", None) or "") for hook in hooks)


def has_any_hooks(module: nn.Module) -> bool:
    """Whether someone else's hooks hear a call: forward hooks as `has_hooks`, backward hooks, or torch's for all modules."""
    return has_hooks(module) or any((module._backward_hooks, module._backward_pre_hooks, *HOOKS_OF_ALL_MODULES))


def warn_of_hooks(module: nn.Module, name: str, reader: str) -> None:
    """Warn of forward hooks."""
    if has_hooks(module):
        warn(f"{name} has forward hooks, which {reader} leaves out")


def warn_of_hooks_within(net: nn.Module, reader: str) -> None:
    """Warn of forward hooks of a net and of each part of it."""
    for name, module in net.named_modules():
        warn_of_hooks(module, f"net.{name}" if name else "net", reader)


def make_permanent(module: nn.Module) -> None:
    """Replace what torch's pruning, norms and parametrizations recompute in each call by plain tensors, in place."""
    hooks: list[Any] = [*module._forward_pre_hooks.values()]
    for hook in hooks:
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)
        elif type(hook).__name__ in _REMOVERS and type(hook).__module__.startswith("torch.nn.utils."):
            getattr(torch.nn.utils, _REMOVERS[type(hook).__name__])(module, hook.name)
    if parametrize.is_parametrized(module):
        # Not torch's remove_parametrizations: it changes the class, which a copy shares with the module that it is of.
        made: Any = module.parametrizations
        values = {name: getattr(module, name).detach().clone() for name in made}
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value))


def trained_parameters(module: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters from which torch's pruning, norms or parametrizations compute the tensor; the parameter itself if plain."""
    if parametrize.is_parametrized(module, name):
        made: Any = module.parametrizations
        return list(made[name].parameters(recurse=False))
    own = (module._parameters.get(name + ending) for ending in ("", "_orig", "_g", "_v"))
    return [parameter for parameter in own if parameter is not None]


def class_name(module: nn.Module) -> str:
    """The name of a module's class; of a parametrized module, that of its class before torch replaced it."""
    return parametrize.type_before_parametrizations(module).__name__


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
