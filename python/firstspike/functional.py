from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _checks
from .spikes import SpikeTimes
from .surrogate import Surrogate, triangle


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v, alive, threshold, surrogate):
        ctx.save_for_backward(v, alive)
        ctx.a = threshold, surrogate
        return ((v >= threshold) & alive).to(v.dtype)

    @staticmethod
    def backward(ctx, g):
        v, alive = ctx.saved_tensors
        threshold, surrogate = ctx.a
        return g * surrogate.derivative(v - threshold) * alive, None, None, None


def fire(current, *, threshold=1.0, decay=1.0, surrogate=triangle()):
    v = torch.zeros_like(current[0])
    alive = torch.ones_like(v, dtype=torch.bool)
    out = []
    for x in current:
        v = v * decay + x
        s = _Fire.apply(v, alive, threshold, surrogate)
        alive = alive & (s == 0)
        out.append(s)
    return torch.stack(out)


def ramp(current, steps, *, threshold=1.0, decay=1.0, surrogate=triangle()):
    x = current.unsqueeze(0).expand(steps, *current.shape)
    return SpikeTimes.from_dense(fire(x, threshold=threshold, decay=decay, surrogate=surrogate))


def _currents(spikes, weight, bias, avg_pool):
    x = spikes.dense()
    t, b = x.shape[:2]
    if x.dim() == 5 and avg_pool > 1:
        x = F.avg_pool2d(x.flatten(0, 1), avg_pool).unflatten(0, (t, b))
    return F.linear(x.flatten(2), weight, bias)


def linear(spikes, weight, bias=None, *, avg_pool=1, threshold=1.0, decay=1.0, surrogate=triangle()):
    return SpikeTimes.from_dense(fire(_currents(spikes, weight, bias, avg_pool), threshold=threshold, decay=decay,
                                      surrogate=surrogate))


def conv2d(spikes, weight, bias=None, *, stride=1, padding=0, avg_pool=1, threshold=1.0, decay=1.0, surrogate=triangle()):
    x = spikes.dense()
    t, b = x.shape[:2]
    x = x.flatten(0, 1)
    if avg_pool > 1:
        x = F.avg_pool2d(x, avg_pool)
    x = F.conv2d(x, weight, bias, stride=stride, padding=padding).unflatten(0, (t, b))
    return SpikeTimes.from_dense(fire(x, threshold=threshold, decay=decay, surrogate=surrogate))


def integrate(spikes, weight, bias=None, *, avg_pool=1, decay=1.0):
    x = _currents(spikes, weight, bias, avg_pool)
    v = torch.zeros_like(x[0])
    out = []
    for c in x:
        v = v * decay + c
        out.append(v)
    return torch.stack(out)
