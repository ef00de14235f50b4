"""`direct_convolution`: the current of directly coded maps, whose gradient has the same bits for any number of threads.

The product is torch's. Its gradient for the weight is not: torch adds it up in an order that depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import grad as nn_grad

from .._first_order import first_order_only
from ._library import array, cpu, empty, operator, threads


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    return torch.conv2d(x, weight, bias, stride, padding)


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], bias: bool
) -> tuple[Tensor, Tensor]:
    outputs, channels = weight.shape[:2]
    batch, _, height, width = x.shape
    geometry = (batch, height, width, channels, 1, *weight.shape[2:], *stride, *padding, outputs, 1)
    at_weight, at_bias = empty(weight.shape), torch.empty(outputs if bias else 0, dtype=torch.float32)
    cpu.direct_convolution_gradient(
        geometry,
        array(x.permute(0, 2, 3, 1).contiguous()),
        array(gradient.permute(0, 2, 3, 1).contiguous()),
        threads(),
        array(at_weight),
        array(at_bias) if bias else None,
    )
    return at_weight, at_bias


def _backward_torch(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], bias: bool
) -> tuple[Tensor, Tensor]:
    at_weight = nn_grad.conv2d_weight(x, weight.shape, gradient, stride, padding)
    return at_weight.contiguous(), gradient.sum((0, 2, 3)) if bias else gradient.new_empty(0)


def _backward_fake(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], bias: bool
) -> tuple[Tensor, Tensor]:
    return weight.new_empty(weight.shape), weight.new_empty(weight.shape[0] if bias else 0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, ctx.stride, ctx.padding = inputs
    ctx.save_for_backward(x, weight)


@first_order_only
def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = saved
    at_x = at_weight = at_bias = None
    if ctx.needs_input_grad[0]:
        at_x = nn_grad.conv2d_input(x.shape, weight, gradient, ctx.stride, ctx.padding)
    if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
        wanted = ctx.needs_input_grad[2]
        at_weight, at_bias = direct_convolution_backward(gradient, x, weight, ctx.stride, ctx.padding, wanted)
    return (
        at_x,
        at_weight if ctx.needs_input_grad[1] else None,
        at_bias if ctx.needs_input_grad[2] else None,
        None,
        None,
    )


# As torch.conv2d, of maps and weights in channels-last memory; the weight's gradient is contiguous.
direct_convolution = operator(
    "direct_convolution(Tensor x, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding) -> Tensor",
    cpu=_forward,
    cuda=_forward,
    fake=_forward,
    save=_save,
    gradients=_gradients,
)
direct_convolution_backward = operator(
    "direct_convolution_backward(Tensor gradient, Tensor x, Tensor weight, SymInt[] stride, SymInt[] padding, bool bias)"
    " -> (Tensor, Tensor)",
    cpu=_backward,
    cuda=_backward_torch,
    fake=_backward_fake,
)
