"""The same TTFS net in plain torch, as fast as dense code can be: synapses once over all steps and samples, then the
neurons.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from firstspike.surrogate import triangle

from ..workloads import Workload
from .synapses import decay_weights, decayed_sum, stages

_WIDTH = triangle().scale  # not an attribute of the Function, at which torch.compile would break the graph


class _Spike(torch.autograd.Function):
    """Heaviside with a triangular surrogate derivative, of the width that firstspike's has."""

    @staticmethod
    def forward(ctx, u):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        (u,) = ctx.saved_tensors
        return gradient * (1 - u.abs() / _WIDTH).clamp(min=0) / _WIDTH


def _spike(u: Tensor) -> Tensor:
    spikes: Tensor = _Spike.apply(u)  # type: ignore[no-untyped-call]
    return spikes


def loop(current: Tensor, decay: float = 1.0) -> Tensor:
    """Integrate-and-fire neurons that fire once, step by step: current [T, B, ...] to spikes of the same shape."""
    voltage = torch.zeros_like(current[0])
    silent = torch.ones_like(voltage)
    spikes = []
    for x in current.unbind(0):
        voltage = voltage + x if decay == 1 else decay * voltage + x
        spike = _spike(voltage - 1.0) * silent
        silent = silent - spike.detach()
        spikes.append(spike)
    return torch.stack(spikes)


def scan(current: Tensor) -> Tensor:
    """The same without a loop: a neuron that fires once has no reset, so its membrane is a running sum."""
    over = current.cumsum(0) - 1.0
    with torch.no_grad():
        fired = (over >= 0).to(torch.int16).cumsum(0, dtype=torch.int16)
        first = torch.cat([fired.new_zeros(1, *fired.shape[1:]), fired[:-1]]) == 0
    return _spike(over) * first


NEURONS = {"loop": loop, "scan": scan}


class Dense(nn.Module):
    """forward: spikes float32 [T, B, ...] to scores [B, classes], the last membrane of the last layer.

    neurons: "loop" or "scan". decay: of every neuron and of the readout, with "loop". channels_last: memory format of
    maps and weights.
    """

    def __init__(
        self,
        workload: Workload,
        steps: int,
        *,
        neurons: str = "loop",
        decay: float = 1.0,
        channels_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.stages = stages(workload, steps, seed=seed)
        self.synapses = nn.ModuleList(stage.synapse for stage in self.stages)
        if decay != 1 and neurons != "loop":
            raise ValueError(f"neurons must be 'loop' for a decay below 1 (a running sum has no leak), got {neurons!r}")
        self.decay = decay
        self.neurons = NEURONS[neurons] if decay == 1 else partial(loop, decay=decay)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        if channels_last:
            self.synapses.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Scores of a dense train."""
        steps = x.shape[0]
        for stage in self.stages:
            if stage.last:  # it integrates: its last membrane is the membrane of all spikes at once
                x = decayed_sum(x, self.decay).unsqueeze(0)
            flat = x.flatten(0, 1)
            if flat.dim() == 4:
                flat = flat.contiguous(memory_format=self.format)
            if stage.pool > 1:
                flat = F.avg_pool2d(flat, stage.pool)
            if stage.flat:
                flat = flat.flatten(1)
            if stage.last:
                often = sum(decay_weights(steps, self.decay))  # how many times the bias counts
                return F.linear(flat, stage.synapse.weight, often * stage.synapse.bias)  # type: ignore[operator, arg-type]
            x = self.neurons(stage.synapse(flat).unflatten(0, x.shape[:2]))
        raise AssertionError("a net has a last layer")
