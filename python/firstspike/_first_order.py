"""Surrogate gradients have no derivative of their own: who asks for one gets an error, not a silent zero."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _Refusal(torch.autograd.Function):
    """A gradient as it is, which cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, trigger: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *at_output: Any) -> Any:
        raise RuntimeError(
            "firstspike's surrogate gradients have no second derivative: a loss cannot contain a gradient (create_graph=True) "
            "that went through a spiking layer"
        )


def first_order_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A `backward` whose gradients raise an error where they are differentiated.

    torch's `once_differentiable` marks them only where the gradient that comes in requires one itself: behind a plain sum, a
    gradient penalty would be a constant, without a word.
    """

    @functools.wraps(backward)
    def guarded(*arguments: Any) -> Any:
        if not torch.is_grad_enabled():  # create_graph=False
            return backward(*arguments)
        with torch.no_grad():
            found = backward(*arguments)
        if not isinstance(found, tuple):
            return _refusing(found)
        return tuple(_refusing(gradient) for gradient in found)

    return guarded


def _refusing(gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return None
    apply: Callable[..., Any] = _Refusal.apply
    refusing: Tensor = apply(gradient, torch.empty(0, requires_grad=True))
    return refusing
