"""When an eager call may skip torch's dispatcher and call the CPU kernel directly: the dispatcher costs more than a small layer.

The dispatcher exists for those who look at operators: torch.compile, torch.export, modes, torch.func, tracing, profilers,
subclasses, other devices. Where none of them is active the kernel is called directly, and what autograd has to know goes
through one `torch.autograd.Function` made of the functions that the operator is registered with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_keys: Any = torch._C._dispatch_keys
_modes: Any = torch._C._dispatch_tls_local_include_set


def _set(*names: str) -> Any:
    found: Any = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, names[0]))
    for name in names[1:]:
        found = found.add(getattr(torch._C.DispatchKey, name))
    return found


# By name what is known to be plain, so that all else, and all that is new in torch, is dispatched; in inference mode: less.
_CPU, _CPU_INFERENCE = _set("CPU", "ADInplaceOrView", "AutogradCPU", "AutocastCPU"), _set("CPU", "AutocastCPU")
_NO_MODE, _INFERENCE_MODE = _set("BackendSelect", "ADInplaceOrView"), _set("BackendSelect")
_TYPES = (Tensor, torch.nn.Parameter)


def bypasses_dispatcher(*arguments: Any) -> bool:
    """Whether only autograd would notice that a call with these arguments skips the dispatcher."""
    if torch.compiler.is_compiling():
        return False
    modes = _modes()
    if modes != _NO_MODE and modes != _INFERENCE_MODE:
        return False
    if torch._C._is_torch_function_mode_enabled() or torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
        return False
    for argument in arguments:
        if type(argument) in _TYPES:
            keys = _keys(argument)
            if keys != _CPU and keys != _CPU_INFERENCE:
                return False
        elif isinstance(argument, Tensor):
            return False
    return True


def eager(
    operator: Callable[..., Any],
    kernel: Callable[..., Any],
    save: Callable[..., None] | None,
    gradients: Callable[..., Any] | None,
) -> Callable[..., Any]:
    """A registered operator as a function that goes straight to its CPU kernel where it may.

    save, gradients: what `torch.library.register_autograd` was given; no gradients, no derivative.
    """
    recorded = None if gradients is None else _recorded(kernel, save, gradients)

    def call(*arguments: Any) -> Any:
        if not bypasses_dispatcher(*arguments):
            return operator(*arguments)
        return recorded(*arguments) if recorded and _wants_gradient(arguments) else kernel(*arguments)

    return call


def _wants_gradient(arguments: tuple[Any, ...]) -> bool:
    return torch.is_grad_enabled() and any(type(x) in _TYPES and x.requires_grad for x in arguments)


def _recorded(
    forward: Callable[..., Any], save: Callable[..., None] | None, gradients: Callable[..., Any]
) -> Callable[..., Any]:
    once = getattr(gradients, "__wrapped__", gradients)  # what `once_differentiable` guards where a graph is made

    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:  # a setup_context of its own would cost 20 microseconds
            output = forward(*arguments)
            if save is not None:
                save(ctx, arguments, output)
            return output

        @staticmethod
        def backward(ctx: Any, *at_outputs: Any) -> Any:
            return gradients(ctx, *at_outputs) if torch.is_grad_enabled() else once(ctx, *at_outputs)

    apply: Callable[..., Any] = Eager.apply
    return apply
