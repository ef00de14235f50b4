"""`direct_convolution`: the current of directly coded maps, whose gradient has the same bits for any number of threads.

The product is torch's. Its gradient for the weight is not: torch adds it up in an order that depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.nn import grad as nn_grad

from .._first_order import first_order_only
from ._library import array, cpu, empty, operator, threads

_settings = Lock()  # cuDNN's are the whole process's


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """cuDNN in float32 (by default it may round to TF32) and with the same bits in every run."""
    cudnn: Any = torch.backends.cudnn
    exact = (
        (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32", False)
    )  # torch < 2.9
    with _settings:
        changes = [exact, (cudnn, "deterministic", True)]
        before = [getattr(owner, name) for owner, name, _ in changes]
        try:
            for owner, name, value in changes:
                setattr(owner, name, value)
            yield
        finally:
            for (owner, name, _), value in zip(changes, before, strict=True):
                setattr(owner, name, value)


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    return torch.conv2d(x, weight, bias, stride, padding)


def _forward_cuda(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    with exact_convolutions():
        return torch.conv2d(x, weight, bias, stride, padding)


def _backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    at_x, at_weight, at_bias = _backward_fake(gradient, x, weight, stride, padding, needs)
    if needs[0]:
        at_x = nn_grad.conv2d_input(x.shape, weight, gradient, stride, padding).contiguous()
    if needs[1] or needs[2]:
        outputs, channels = weight.shape[:2]
        batch, _, height, width = x.shape
        geometry = (batch, height, width, channels, 1, *weight.shape[2:], *stride, *padding, outputs, 1)
        at_weight = empty(weight.shape)
        cpu.direct_convolution_gradient(
            geometry,
            array(x.permute(0, 2, 3, 1).contiguous()),
            array(gradient.permute(0, 2, 3, 1).contiguous()),
            threads(),
            array(at_weight),
            array(at_bias) if needs[2] else None,
        )
    return at_x, at_weight, at_bias


def _backward_cuda(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    at_x, at_weight, at_bias = _backward_fake(gradient, x, weight, stride, padding, needs)
    with exact_convolutions():
        if needs[0]:
            at_x = nn_grad.conv2d_input(x.shape, weight, gradient, stride, padding).contiguous()
        if needs[1] or needs[2]:
            at_weight = nn_grad.conv2d_weight(x, weight.shape, gradient, stride, padding).contiguous()
    return at_x, at_weight, gradient.sum((0, 2, 3)) if needs[2] else at_bias


def _backward_fake(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        weight.new_empty(x.shape if needs[0] else 0),
        weight.new_empty(weight.shape if needs[1] or needs[2] else 0),
        weight.new_empty(weight.shape[0] if needs[2] else 0),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, ctx.stride, ctx.padding = inputs
    ctx.save_for_backward(x, weight)


@first_order_only
def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:3])
    results = direct_convolution_backward(gradient, *saved, ctx.stride, ctx.padding, needs)
    return (*(g if need else None for g, need in zip(results, needs, strict=True)), None, None)


# As torch.conv2d, of maps and weights in channels-last memory. The second has the gradients at the data, the weight and the bias;
# empty where `needs` is false.
direct_convolution = operator(
    "direct_convolution(Tensor x, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding) -> Tensor",
    cpu=_forward,
    cuda=_forward_cuda,
    fake=_forward,
    save=_save,
    gradients=_gradients,
)
direct_convolution_backward = operator(
    "direct_convolution_backward(Tensor gradient, Tensor x, Tensor weight, SymInt[] stride, SymInt[] padding, bool[] needs)"
    " -> (Tensor, Tensor, Tensor)",
    cpu=_backward,
    cuda=_backward_cuda,
    fake=_backward_fake,
)
