"""`direct_convolution`: the current of directly coded maps, whose gradient has the same bits for any number of threads.

The product is torch's. Its gradient for the weight is not: torch adds it up in an order that depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import grad as nn_grad

from ._operator import operator
from ._support import array, cpu, empty, only, threads

_settings = Lock()  # cuDNN's are the whole process's


class Backward(NamedTuple):
    """The arguments of `direct_convolution_backward` in the order of its schema."""

    gradient: Tensor
    x: Tensor
    weight: Tensor
    stride: Sequence[int]
    padding: Sequence[int]
    needs: Sequence[bool]  # whether the gradient at the data, the weight and the bias is wanted

    def at_x(self) -> Tensor:
        """The gradient at the data, torch's."""
        at_x: Tensor = nn_grad.conv2d_input(self.x.shape, self.weight, self.gradient, self.stride, self.padding)
        return at_x.contiguous()


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """cuDNN in float32 (by default it may round to TF32) and with the same bits in every run."""
    cudnn: Any = torch.backends.cudnn
    new = hasattr(cudnn, "conv")  # torch 2.9
    exact = (cudnn.conv, "fp32_precision", "ieee") if new else (cudnn, "allow_tf32", False)
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


def _forward_cuda(*arguments: Any) -> Tensor:
    with exact_convolutions():
        return _forward(*arguments)


def _backward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    a = Backward(*arguments)
    at_x, at_weight, at_bias = _backward_fake(*arguments)
    if a.needs[0]:
        at_x = a.at_x()
    if a.needs[1] or a.needs[2]:
        outputs, channels = a.weight.shape[:2]
        batch, _, height, width = a.x.shape
        geometry = (batch, height, width, channels, 1, *a.weight.shape[2:], *a.stride, *a.padding, outputs, 1)
        at_weight = empty(a.weight.shape)
        cpu.direct_convolution_gradient(
            geometry,
            array(a.x.permute(0, 2, 3, 1).contiguous()),
            array(a.gradient.permute(0, 2, 3, 1).contiguous()),
            threads(),
            array(at_weight),
            array(at_bias) if a.needs[2] else None,
        )
    return at_x, at_weight, at_bias


def _backward_cuda(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    a = Backward(*arguments)
    at_x, at_weight, at_bias = _backward_fake(*arguments)
    with exact_convolutions():
        if a.needs[0]:
            at_x = a.at_x()
        if a.needs[1] or a.needs[2]:
            at_weight = nn_grad.conv2d_weight(a.x, a.weight.shape, a.gradient, a.stride, a.padding).contiguous()
    return at_x, at_weight, a.gradient.sum((0, 2, 3)) if a.needs[2] else at_bias


def _backward_fake(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    a = Backward(*arguments)
    return (
        a.weight.new_empty(a.x.shape if a.needs[0] else 0),
        a.weight.new_empty(a.weight.shape if a.needs[1] or a.needs[2] else 0),
        a.weight.new_empty(a.weight.shape[0] if a.needs[2] else 0),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, ctx.stride, ctx.padding = inputs
    ctx.save_for_backward(x, weight)


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:3])
    results = direct_convolution_backward(gradient, *saved, ctx.stride, ctx.padding, needs)
    return *only(results, needs), None, None


# As torch.conv2d, of maps and weights in channels-last memory. The second has the gradients at the data, the weight and the bias;
# empty where `needs` is false.
direct_convolution = operator(
    "direct_convolution(Tensor x, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding) -> Tensor"
)(cpu=_forward, cuda=_forward_cuda, fake=_forward, save=_save, gradients=_gradients)
direct_convolution_backward = operator(
    "direct_convolution_backward(Tensor gradient, Tensor x, Tensor weight, SymInt[] stride, SymInt[] padding, bool[] needs)"
    " -> (Tensor, Tensor, Tensor)"
)(cpu=_backward, cuda=_backward_cuda, fake=_backward_fake)
