"""A net's synapses as torch modules, with the weights that firstspike's net has: what all dense nets start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from firstspike.models.grammar import Conv, Pool
from firstspike.models.sizes import layer_sizes

from ..workloads import Workload
from .ours import Ours


@dataclass(frozen=True)
class Stage:
    """One layer: pooling by `pool` first, then the synapse; a flat one flattens its input; the last one only
    integrates.
    """

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
    sized = layer_sizes(workload.spec, workload.input_shape)
    layers: Any = Ours(workload, steps, seed=seed).layers
    weights: list[tuple[Any, Any]] = [layer.effective_weight_and_bias() for layer in layers]
    made: list[Stage] = []
    pool = 1
    for item in sized:
        if isinstance(item.token, Pool):
            pool = item.token.factor
            continue
        if isinstance(item.token, Conv):
            synapse: Any = conv(
                item.inputs, item.outputs, item.token.kernel, stride=item.token.stride, padding=item.token.padding
            )
        else:
            synapse = linear(item.inputs, item.outputs)
        weight, bias = weights[len(made)]
        with torch.no_grad():
            synapse.weight.copy_(weight)
            synapse.bias.copy_(bias)
        made.append(Stage(synapse, pool, not isinstance(item.token, Conv), item is sized[-1]))
        pool = 1
    return made
