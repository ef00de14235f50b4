"""The neuron: V[t] = decay V[t-1] + X[t], one spike where V >= threshold, surrogate gradient, fired flag detached."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from firstspike.ops._operator import first_order_only
from firstspike.surrogate import Surrogate, triangle


def surrogate_derivative(u: Tensor, surrogate: Surrogate) -> Tensor:
    """Derivative that stands in for that of the step function at ``u`` = V - threshold; any shape and float type.

    Examples:
        >>> reference.surrogate_derivative(torch.tensor([-2.0, -0.5, 0.0]), surrogate.triangle(1.0))
        tensor([0.0000, 0.5000, 1.0000])
    """
    scale = surrogate.scale
    if surrogate.kind == "triangle":
        return (1 - u.abs() / scale).clamp(min=0) / scale
    if surrogate.kind == "rectangle":
        return (u.abs() < scale / 2).to(u.dtype) / scale
    if surrogate.kind == "atan":
        return scale / 2 / (1 + (math.pi / 2 * scale * u) ** 2)
    if surrogate.kind == "sigmoid":
        return scale * torch.sigmoid(scale * u) * torch.sigmoid(-scale * u)
    raise ValueError(f"surrogate.kind: unknown {surrogate.kind!r}")


class _Step(torch.autograd.Function):
    """H(u), with the surrogate's derivative."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u >= 0).to(u.dtype)

    @staticmethod
    @first_order_only
    def backward(ctx: Any, saved: tuple[Tensor], grad: Tensor) -> tuple[Tensor, None]:
        (u,) = saved
        return grad * surrogate_derivative(u, ctx.surrogate), None


def membrane(current: Tensor, decay: float = 1.0) -> Tensor:
    """Membrane V [T, B, ...] of a neuron that never fires, from its current X [T, B, ...].

    Examples:
        >>> current = torch.tensor([0.5, 0.75, 0.5]).view(3, 1, 1)
        >>> reference.membrane(current, decay=0.5).flatten()
        tensor([0.5000, 1.0000, 1.0000])
    """
    v = torch.zeros_like(current[0])
    potentials = []
    for x in current:
        v = decay * v + x
        potentials.append(v)
    return torch.stack(potentials)


def fire(current: Tensor, *, threshold: float = 1.0, decay: float = 1.0, surrogate: Surrogate = triangle()) -> Tensor:
    """Dense spikes [T, B, ...] of a current [T, B, ...]; the flag that a neuron has fired carries no gradient.

    Examples:
        >>> current = torch.tensor([0.5, 0.75, 0.5]).view(3, 1, 1)
        >>> reference.fire(current).flatten()
        tensor([0., 1., 0.])
    """
    fired = torch.zeros_like(current[0])
    spikes = []
    for v in membrane(current, decay):
        spike = _Step.apply(v - threshold, surrogate) * (1 - fired)  # type: ignore[no-untyped-call]
        fired = fired + spike.detach()
        spikes.append(spike)
    return torch.stack(spikes)


def margin(
    current: Tensor, *, threshold: float = 1.0, decay: float = 1.0, levels: tuple[float, ...] = (0.0,)
) -> Tensor:
    """How clear each neuron's decisions are: the smallest distance of V - threshold from any of ``levels``, [B, ...].

    Taken over the steps up to the spike (all steps of a silent neuron). With levels = (0,), a neuron of margin 1e-4
    fires at the same step in any arithmetic whose membrane is right to 1e-4; further levels are jumps of a surrogate.

    Examples:
        >>> current = torch.tensor([0.5, 0.75, 0.5]).view(3, 1, 1)
        >>> reference.margin(current)
        tensor([[0.2500]])
    """
    u = membrane(current.detach(), decay) - threshold
    distance = torch.stack([(u - level).abs() for level in levels]).amin(0)
    before = torch.cat([torch.zeros_like(u[:1]), (u >= 0).to(u.dtype).cumsum(0)[:-1]])
    return distance.masked_fill(before > 0, float("inf")).amin(0)
