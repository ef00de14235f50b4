"""A net's synapses as torch modules, with the weights that firstspike's net has: what all dense nets start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from firstspike.nn import TTFSConv2d

from ..workloads import Workload
from .ours import Ours


@dataclass(frozen=True)
class Stage:
    """One layer: pooling by `pool`, then the synapse; a flat one flattens its input; the last one only integrates."""

    synapse: nn.Module
    pool: int
    flat: bool
    last: bool

    def current(self, x: Tensor) -> Tensor:
        """The synapse's output for spikes [T, B, ...], [T * B, ...]; of the last layer [B, ...], for the sum over time."""
        if self.last:
            x = x.sum(0, keepdim=True)
        flat = x.flatten(0, 1)
        if self.pool > 1:
            flat = F.avg_pool2d(flat, self.pool)
        current: Tensor = self.synapse(flat.flatten(1) if self.flat else flat)
        return current


def decayed_sum(x: Tensor, decay: float) -> Tensor:
    """The sum of a train [T, B, ...] over its steps, a step counting `decay` times as much as the one after it: what an
    integrating layer's weights meet at the last step. [B, ...]
    """
    return x.sum(0) if decay == 1 else torch.einsum("t...,t->...", x, x.new_tensor(decay_weights(len(x), decay)))


def decay_weights(steps: int, decay: float) -> list[float]:
    """decay^(T - 1 - t) of the steps t. Numbers, which torch.compile takes in; the value of a tensor would break its graph."""
    return [decay ** (steps - 1 - t) for t in range(steps)]


def stages(
    workload: Workload,
    steps: int,
    linear: Callable[..., nn.Module] = nn.Linear,
    conv: Callable[..., nn.Module] = nn.Conv2d,
    *,
    seed: int = 0,
) -> list[Stage]:
    """The layers of the work's net; `linear` and `conv` make the synapses, with torch's arguments."""
    layers: Any = Ours(workload, steps, seed=seed).layers
    made: list[Stage] = []
    for layer in layers:
        maps = isinstance(layer, TTFSConv2d)
        if maps:
            sizes = (layer.in_channels, layer.out_channels, layer.kernel_size)
            synapse: Any = conv(*sizes, stride=layer.stride, padding=layer.padding)
        else:
            synapse = linear(layer.in_features, layer.out_features)
        weight, bias = layer.effective_weight_and_bias()
        with torch.no_grad():
            synapse.weight.copy_(weight)
            synapse.bias.copy_(bias)
        made.append(Stage(synapse, layer.avg_pool, not maps, layer is layers[-1]))
    return made
