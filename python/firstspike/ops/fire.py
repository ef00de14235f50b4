"""`fire`: the dense neuron, currents at every step in, spikes at every step out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._cuda import Arguments, kernels, on_device, pointer
from ._operator import operator
from ._support import array, cpu, same_shape, threads


def _neurons(current: Tensor) -> int:
    return current[0].numel()


def _forward(current: Tensor, neuron: Sequence[float]) -> Tensor:
    spikes = torch.empty(current.shape, dtype=torch.float32)
    cpu.fire(current.shape[0], _neurons(current), neuron, array(current), threads(), array(spikes))
    return spikes


def _forward_cuda(current: Tensor, neuron: Sequence[float]) -> Tensor:
    spikes, at = torch.empty_like(current), Arguments(current.device)
    x = at.floats("current", current, current.numel())
    with on_device(current) as stream:
        kernels().fire(current.shape[0], _neurons(current), neuron, x, pointer(spikes), stream)
    return spikes


def _backward(gradient: Tensor, current: Tensor, neuron: Sequence[float]) -> Tensor:
    at_current = torch.empty(current.shape, dtype=torch.float32)
    arrays = array(current), array(gradient.contiguous())
    cpu.fire_gradient(current.shape[0], _neurons(current), neuron, *arrays, threads(), array(at_current))
    return at_current


def _backward_cuda(gradient: Tensor, current: Tensor, neuron: Sequence[float]) -> Tensor:
    at_current, gradient, at = torch.empty_like(current), gradient.contiguous(), Arguments(current.device)
    arrays = at.floats("current", current, current.numel()), at.floats("gradient", gradient, current.numel())
    with on_device(current) as stream:
        kernels().fire_gradient(current.shape[0], _neurons(current), neuron, *arrays, pointer(at_current), stream)
    return at_current


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    current, ctx.neuron = inputs
    ctx.save_for_backward(current)


def _gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor) -> tuple[Tensor | None, ...]:
    (current,) = saved
    return fire_backward(gradient, current, ctx.neuron), None


# Dense spikes of the shape of `current`, [steps, batch, ...].
fire = operator("fire(Tensor current, float[] neuron) -> Tensor")(
    cpu=_forward, cuda=_forward_cuda, fake=same_shape, save=_save, gradients=_gradients
)
fire_backward = operator("fire_backward(Tensor gradient, Tensor current, float[] neuron) -> Tensor")(
    cpu=_backward, cuda=_backward_cuda, fake=same_shape
)
