"""Surrogate gradients have no derivative of their own: asking for one raises an error instead of giving a silent zero."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


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


def first_order_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Make torch's `backward(ctx, *gradients)` from `backward(ctx, saved, *gradients)`, which gets the saved tensors as well.

    Differentiating the gradients that it returns raises an error. torch's `once_differentiable` raises it only where the
    incoming gradient itself requires one: after a plain sum, a gradient penalty would silently be a constant.
    `torch.autograd.grad` reaches the error only on the way to the tensors that it is asked for, so an operator must save what
    leads to each of its inputs: these, or its output's anchor.
    """

    @functools.wraps(backward)
    def guarded(ctx: Any, *gradients: Any) -> Any:
        saved = ctx.saved_tensors  # once, as checkpointing asks for
        if not torch.is_grad_enabled():  # create_graph=False
            return backward(ctx, saved, *gradients)
        with torch.no_grad():
            found = backward(ctx, saved, *gradients)
        depends_on = [x for x in (*saved, *gradients) if x is not None and x.requires_grad]
        depends_on.append(torch.empty(0, requires_grad=True))
        if not isinstance(found, tuple):
            return _refusing(found, depends_on)
        return tuple(_refusing(gradient, depends_on) for gradient in found)

    return guarded


def _refusing(gradient: Tensor | None, depends_on: list[Tensor]) -> Tensor | None:
    if gradient is None:
        return None
    apply: Callable[..., Any] = _Refusal.apply
    refusing: Tensor = apply(gradient, *depends_on)
    return refusing
