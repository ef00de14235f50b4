"""`operator`: registers an operator of the namespace `firstspike` with its implementations and gradient.

What holds for all operators is done here, once: the call that skips torch's dispatcher where nobody would notice, the refusal of
tracers and of forward mode, and the refusal of second derivatives. Of several outputs only the first, the anchor, has a gradient.

The dispatcher exists for those who look at operators: torch.compile, torch.export, modes, torch.func, tracing, profilers,
subclasses, other devices. It costs more than a small layer. Where none of them is active the CPU kernel is called directly, and
one `torch.autograd.Function`, made of the functions that the operator is registered with, records what autograd needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling
from torch.nn import Parameter

from .._base.geometry import Geometry

LIBRARY = torch.library.Library("firstspike", "FRAGMENT")
CUDA_IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {}  # by name, for the tests
# A layer's input: its spikes, and the anchor that they came with; where the anchor is a list, its support's offset and place.
INPUT = "Tensor times, Tensor? anchor, Tensor? in_offset, Tensor? in_place"


def operator(schema: str) -> Callable[..., Callable[..., Any]]:
    """Define an operator: `operator(schema)(cpu=..., fake=..., ...)`, with the arguments of `_implement`, is its function."""
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    return functools.partial(_implement, schema[: schema.index("(")])


def _implement(
    name: str,
    *,
    cpu: Callable[..., Any],
    fake: Callable[..., Any],
    cuda: Callable[..., Any] | None = None,
    save: Callable[..., None] | None = None,
    gradients: Callable[..., Any] | None = None,
    linear: bool = False,
) -> Callable[..., Any]:
    """Register an operator's implementations, its fake kernel and its derivative; return it as a function.

    save(ctx, inputs, output): the `setup_context` of `torch.library.register_autograd`. gradients(ctx, saved, *gradients): its
    `backward`, which gets the saved tensors as well. linear: torch's own functions make the gradients from the incoming ones, by
    gradients(ctx, *gradients); then they may be differentiated again.
    """
    LIBRARY.impl(name, _untraced(cpu), "CPU")
    if cuda is not None:
        LIBRARY.impl(name, _untraced(cuda), "CUDA")
        CUDA_IMPLEMENTATIONS[name] = cuda
    torch.library.register_fake(f"firstspike::{name}", fake, lib=LIBRARY)
    backward = None
    if gradients is not None:
        backward, save = gradients if linear else first_order_only(gradients), _first_alone(save)
        names: dict[str, Any] = {"setup_context": _untraced(save), "lib": LIBRARY}
        torch.library.register_autograd(f"firstspike::{name}", _untraced(backward), **names)
    return _eager(getattr(torch.ops.firstspike, name).default, cpu, save, backward)


def _first_alone(save: Callable[..., None] | None) -> Callable[..., None]:
    """`save`, after the outputs behind the first were marked as without a gradient."""

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, tuple):
            ctx.mark_non_differentiable(*output[1:])
            ctx.set_materialize_grads(False)  # else zeros are made for each of them
        if save is not None:
            save(ctx, inputs, output)

    return setup_context


def _untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of an operator, which torch.compile must not look into where it cannot take the operator into its graph."""
    disabled: Callable[..., Any] = torch.compiler.disable(function)
    return disabled


# Second derivatives


class _Refusal(torch.autograd.Function):
    """A gradient as it is, which cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *depends_on: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *at_output: Any) -> Any:
        raise RuntimeError(
            "firstspike's surrogate gradients have no second derivative: a loss cannot contain a gradient (create_graph=True) "
            "that went through a spiking layer"
        )


_refuse: Callable[..., Tensor] = _Refusal.apply


def first_order_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Make torch's `backward(ctx, *gradients)` from `backward(ctx, saved, *gradients)`, which gets the saved tensors as well.

    Differentiating the gradients that it returns raises an error. torch's `once_differentiable` raises it only where the
    incoming gradient itself requires one: after a plain sum, a gradient penalty would silently be a constant.
    `torch.autograd.grad` reaches the error only on the way to the tensors that it is asked for, so an operator must save what
    leads to each of its inputs: these, or its output's anchor.
    """

    @functools.wraps(backward)
    def guarded(ctx: Any, *gradients: Any) -> Any:
        if gradients[0] is None:  # the first output leads to no loss
            return (None,) * len(ctx.needs_input_grad)
        saved = ctx.saved_tensors  # once, as checkpointing asks for
        if not torch.is_grad_enabled():  # create_graph=False
            return backward(ctx, saved, *gradients)
        with torch.no_grad():
            results = backward(ctx, saved, *gradients)
        depends_on = [x for x in (*saved, *gradients) if x is not None and x.requires_grad]
        depends_on.append(torch.empty(0, requires_grad=True))
        if not isinstance(results, tuple):
            return _refuse(results, *depends_on)
        return tuple(None if gradient is None else _refuse(gradient, *depends_on) for gradient in results)

    return guarded


# Calls without the dispatcher

_keys: Any = torch._C._dispatch_keys
_modes: Any = torch._C._dispatch_tls_local_include_set


def _set(*names: str) -> Any:
    keys: Any = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, names[0]))
    for name in names[1:]:
        keys = keys.add(getattr(torch._C.DispatchKey, name))
    return keys


# Known to be plain, by name, so that any other key, and any that torch adds, is dispatched; the second set is inference mode's.
_PLAIN_KEYS = _set("CPU", "ADInplaceOrView", "AutogradCPU", "AutocastCPU"), _set("CPU", "AutocastCPU")
_PLAIN_MODES = _set("BackendSelect", "ADInplaceOrView"), _set("BackendSelect")
# What else our operators are called with.
_NO_TENSORS = frozenset((type(None), bool, int, float, tuple, list, Geometry))
_function_mode: Callable[[], bool] = torch._C._is_torch_function_mode_enabled
_profiled: Callable[[], bool] = torch.autograd._profiler_enabled  # type: ignore[attr-defined]


def bypasses_dispatcher(*arguments: Any) -> bool:
    """Whether only autograd would notice that a call with these arguments skips the dispatcher."""
    if is_compiling() or _function_mode() or _profiled() or _modes() not in _PLAIN_MODES:
        return False
    for argument in arguments:
        kind = type(argument)
        if kind is Tensor or kind is Parameter:
            if _keys(argument) not in _PLAIN_KEYS:
                return False
        elif kind not in _NO_TENSORS and isinstance(argument, Tensor):
            return False
    return True


def _eager(
    dispatched: Callable[..., Any],
    kernel: Callable[..., Any],
    save: Callable[..., None] | None,
    backward: Callable[..., Any] | None,
) -> Callable[..., Any]:
    """A registered operator as a function that goes straight to its CPU kernel where it may."""
    recorded = None if backward is None else _recorded(kernel, save, backward)

    def call(*arguments: Any) -> Any:
        if bypasses_dispatcher(*arguments) and forward_ad._current_level < 0:
            return recorded(*arguments) if recorded and _wants_gradient(arguments) else kernel(*arguments)
        _refuse_tracers()
        if forward_ad._current_level >= 0:
            _refuse_tangents(arguments)
        return dispatched(*arguments)

    return call


def _wants_gradient(arguments: tuple[Any, ...]) -> bool:
    """Whether one of these plain tensors requires a gradient: a loop by type, as each call of a layer asks."""
    if torch.is_grad_enabled():
        for x in arguments:
            kind = type(x)
            if (kind is Tensor or kind is Parameter) and x.requires_grad:
                return True
    return False


def _recorded(kernel: Callable[..., Any], save: Callable[..., None] | None, gradients: Callable[..., Any]) -> Callable[..., Any]:
    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:  # a separate setup_context would cost 20 microseconds
            output = kernel(*arguments)
            if save is not None:
                save(ctx, arguments, output)
            return output

        backward = staticmethod(gradients)

    # torch.autograd.Function's own looks for torch.func, which `bypasses_dispatcher` has ruled out: 3 microseconds.
    apply: Callable[..., Any] = super(torch.autograd.Function, Eager).apply
    return apply


def _refuse_tracers() -> None:
    """Raise RuntimeError inside transforms that cannot record our operators: torch.jit.trace, torch.func's vmap, grad and jvp."""
    if is_compiling():
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
    """Raise RuntimeError for dual tensors of torch.autograd.forward_ad, whose tangents an operator would lose silently."""
    if any(isinstance(x, Tensor) and forward_ad.unpack_dual(x).tangent is not None for x in arguments):
        raise RuntimeError(
            "firstspike's operators have no forward mode: take gradients by loss.backward() or torch.autograd.grad, and "
            'jacobians with strategy="reverse-mode"'
        )
