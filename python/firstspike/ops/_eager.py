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
from torch.autograd import forward_ad
from torch.nn import Parameter

from .._base.geometry import Geometry

_keys: Any = torch._C._dispatch_keys
_modes: Any = torch._C._dispatch_tls_local_include_set


def _set(*names: str) -> Any:
    found: Any = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, names[0]))
    for name in names[1:]:
        found = found.add(getattr(torch._C.DispatchKey, name))
    return found


# Known to be plain, by name, so that any other key, and any that torch adds, is dispatched; the second set is inference mode's.
_PLAIN_KEYS = _set("CPU", "ADInplaceOrView", "AutogradCPU", "AutocastCPU"), _set("CPU", "AutocastCPU")
_PLAIN_MODES = _set("BackendSelect", "ADInplaceOrView"), _set("BackendSelect")
# What else our operators are called with.
_NO_TENSORS = frozenset((type(None), bool, int, float, tuple, list, Geometry))
_function_mode: Callable[[], bool] = torch._C._is_torch_function_mode_enabled
_profiled: Callable[[], bool] = torch.autograd._profiler_enabled  # type: ignore[attr-defined]


def bypasses_dispatcher(*arguments: Any) -> bool:
    """Whether only autograd would notice that a call with these arguments skips the dispatcher."""
    if torch.compiler.is_compiling() or _function_mode() or _profiled():
        return False
    if _modes() not in _PLAIN_MODES:
        return False
    for argument in arguments:
        kind = type(argument)
        if kind in _NO_TENSORS:
            continue
        if kind is Tensor or kind is Parameter:
            if _keys(argument) not in _PLAIN_KEYS:
                return False
        elif isinstance(argument, Tensor):
            return False
    return True


def _refuse_tracers() -> None:
    """Raise RuntimeError inside transforms that cannot record our operators: torch.jit.trace, torch.func's vmap, grad and jvp."""
    if torch.compiler.is_compiling():
        return
    if torch._C._is_tracing():
        raise RuntimeError(
            "torch.jit.trace (and what uses it, such as TensorBoard's add_graph) cannot record firstspike's operators: use "
            "torch.export.export or torch.compile"
        )
    transform = torch._C._functorch.peek_interpreter_stack()
    if transform is not None and transform.key() != torch._C._functorch.TransformType.Functionalize:
        raise RuntimeError(
            f"firstspike's operators cannot be used within torch.func's {transform.key().name.lower()}: take gradients by "
            "loss.backward() or torch.autograd.grad, and call nets or samples one after another in place of vmap"
        )


def _refuse_tangents(arguments: tuple[Any, ...]) -> None:
    """RuntimeError for dual tensors of torch.autograd.forward_ad, whose tangents an operator would lose without a word."""
    if any(isinstance(x, Tensor) and forward_ad.unpack_dual(x).tangent is not None for x in arguments):
        raise RuntimeError(
            "firstspike's operators have no forward mode: take gradients by loss.backward() or torch.autograd.grad, and "
            'jacobians with strategy="reverse-mode"'
        )


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
        dispatched = not bypasses_dispatcher(*arguments)
        if dispatched:
            _refuse_tracers()
        if forward_ad._current_level >= 0:
            _refuse_tangents(arguments)
        if dispatched:
            return operator(*arguments)
        return recorded(*arguments) if recorded and _wants_gradient(arguments) else kernel(*arguments)

    return call


def _wants_gradient(arguments: tuple[Any, ...]) -> bool:
    return torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in arguments)


def _recorded(
    forward: Callable[..., Any], save: Callable[..., None] | None, gradients: Callable[..., Any]
) -> Callable[..., Any]:
    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:  # a setup_context of its own would cost 20 microseconds
            output = forward(*arguments)
            if save is not None:
                save(ctx, arguments, output)
            return output

        backward = staticmethod(gradients)

    apply: Callable[..., Any] = Eager.apply
    return apply
