"""`normalize_weight`: mean removed, divided by the deviation, times a factor per output (cpp/cpu/weight_normalization.cpp).

Mean and deviation are taken over the whole weight, or per output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._operator import operator
from ._support import array, cpu, empty, threads


def _forward(weight: Tensor, gamma: Tensor | None, deviation: float, per_output: bool) -> tuple[Tensor, Tensor]:
    normal, moments = empty(weight.shape), torch.empty(_groups(weight, per_output), 2, dtype=torch.float64)
    cpu.normalize_weight(*_arguments(weight, gamma, deviation, per_output), threads(), array(normal), array(moments))
    return normal, moments


def _forward_torch(weight: Tensor, gamma: Tensor | None, deviation: float, per_output: bool) -> tuple[Tensor, Tensor]:
    groups = weight.double().reshape(_groups(weight, per_output), -1)
    variance, mean = torch.var_mean(groups, dim=1, correction=0)
    moments = torch.stack([mean, (variance + cpu.smallest_variance).rsqrt()], dim=1)
    return (_normal(weight, moments) * _scale(weight, gamma, deviation)).contiguous(), moments


def _forward_fake(weight: Tensor, gamma: Tensor | None, deviation: float, per_output: bool) -> tuple[Tensor, Tensor]:
    return weight.new_empty(weight.shape), weight.new_empty(_groups(weight, per_output), 2, dtype=torch.float64)


class Backward(NamedTuple):
    """The arguments of `normalize_weight_backward` in the order of its schema."""

    gradient: Tensor
    weight: Tensor
    gamma: Tensor | None
    moments: Tensor
    deviation: float
    per_output: bool


def _backward(*arguments: Any) -> tuple[Tensor, Tensor]:
    a = Backward(*arguments)
    at_weight, at_gamma = (
        empty(a.weight.shape),
        torch.empty(len(a.weight) if a.gamma is not None else 0, dtype=torch.float32),
    )
    cpu.normalize_weight_gradient(
        *_arguments(a.weight, a.gamma, a.deviation, a.per_output),
        array(a.moments),
        array(a.gradient.contiguous()),
        threads(),
        array(at_weight),
        array(None if a.gamma is None else at_gamma),
    )
    return at_weight, at_gamma


def _backward_torch(*arguments: Any) -> tuple[Tensor, Tensor]:
    a = Backward(*arguments)
    normal, at_normal = _normal(a.weight, a.moments), a.gradient * _scale(a.weight, a.gamma, a.deviation)
    mean, along = (_mean(value, a.per_output) for value in (at_normal, normal * at_normal))
    at_weight = (at_normal - mean - normal * along) * _column(a.moments, 1, a.weight)
    at_gamma = a.deviation * (a.gradient * normal).flatten(1).sum(1)
    return at_weight.contiguous(), at_gamma if a.gamma is not None else at_gamma.new_empty(0)


def _backward_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    a = Backward(*arguments)
    return a.weight.new_empty(a.weight.shape), a.weight.new_empty(0 if a.gamma is None else len(a.weight))


def _arguments(weight: Tensor, gamma: Tensor | None, deviation: float, per_output: bool) -> tuple[Any, ...]:
    sizes, factors = (len(weight), weight.numel() // len(weight)), None if gamma is None else gamma.contiguous()
    return *sizes, array(weight.contiguous()), array(factors), deviation, per_output


def _normal(weight: Tensor, moments: Tensor) -> Tensor:
    return (weight - _column(moments, 0, weight)) * _column(moments, 1, weight)


def _groups(weight: Tensor, per_output: bool) -> int:
    """How many parts of the weight have a separate mean and deviation."""
    return len(weight) if per_output else 1


def _column(moments: Tensor, number: int, weight: Tensor) -> Tensor:
    return _per_output(moments[:, number].float(), weight)


def _per_output(values: Tensor, weight: Tensor) -> Tensor:
    """One value per output, or one for all, in the shape in which it meets the weight."""
    return values.view(-1, *[1] * (weight.dim() - 1))


def _mean(value: Tensor, per_output: bool) -> Tensor:
    return value.mean(tuple(range(1 if per_output else 0, value.dim())), keepdim=True)


def _scale(weight: Tensor, gamma: Tensor | None, deviation: float) -> Tensor | float:
    return deviation if gamma is None else _per_output(gamma * deviation, weight)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    weight, gamma, ctx.deviation, ctx.per_output = inputs
    ctx.save_for_backward(weight, gamma, output[1])


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    weight, gamma, moments = saved
    at_weight, at_gamma = normalize_weight_backward(gradient, weight, gamma, moments, ctx.deviation, ctx.per_output)
    return at_weight, at_gamma if gamma is not None else None, None, None


# (normal, moments): the weight normalised to `deviation`, times gamma [O]; its means and inverse deviations, float64 [1 or O, 2].
normalize_weight = operator(
    "normalize_weight(Tensor weight, Tensor? gamma, float deviation, bool per_output) -> (Tensor normal, Tensor moments)"
)(cpu=_forward, cuda=_forward_torch, fake=_forward_fake, save=_save, gradients=_gradients)
normalize_weight_backward = operator(
    "normalize_weight_backward(Tensor gradient, Tensor weight, Tensor? gamma, Tensor moments, float deviation, bool per_output)"
    " -> (Tensor, Tensor)"
)(cpu=_backward, cuda=_backward_torch, fake=_backward_fake)
