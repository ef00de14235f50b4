"""`explain`: which algorithm and block sizes the CPU kernels use for a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .._base import checks, kernels
from .._base.geometry import layer_geometry
from ..nn import Integrate, TTFSConv2d, TTFSLinear
from ..spikes import SpikeTimes

Facts = dict[str, bool | int | str]


@dataclass(frozen=True)
class Plan:
    """The plan of a layer's three passes on the CPU, as the kernels follow it (cpp/cpu/layer/plan.h tells what each item is).

    Parameters
    ----------
    instruction_set, threads : what the plan holds for.
    forward, input_gradient, weight_gradient : the algorithm of each pass, its block sizes and its number of tasks.

    Examples
    --------
    >>> explain(nn.TTFSLinear(784, 400, steps=8), 128, threads=2).threads
    2
    """

    instruction_set: str
    threads: int
    forward: Facts
    input_gradient: Facts
    weight_gradient: Facts

    def __str__(self) -> str:
        text = f"{self.instruction_set}, threads: {self.threads}"
        for name in ("forward", "input_gradient", "weight_gradient"):
            text += f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in getattr(self, name).items())
        return text


def explain(
    layer: TTFSLinear | TTFSConv2d | Integrate, batch: int | Sequence[int] | SpikeTimes, threads: int | None = None
) -> Plan:
    """Return the plan of a layer's kernels on the CPU: which algorithm runs and how the work is divided.

    Parameters
    ----------
    layer : a layer of `firstspike.nn` with a weight.
    batch : the layer's input, or its shape, [B, N] or [B, C, H, W]; B alone for a layer whose input is flat.
    threads : torch's number of threads by default. With the environment variable FIRSTSPIKE_VERBOSE=1 every layer that runs
        writes its plan to stderr.

    Examples
    --------
    >>> plan = explain(nn.TTFSLinear(784, 400, steps=8), 128, threads=2)
    >>> plan.forward["lists"]
    'by_sample'
    """
    if not isinstance(layer, (TTFSLinear, TTFSConv2d, Integrate)):
        raise TypeError(f"layer must be a TTFSLinear, TTFSConv2d or Integrate, got {type(layer).__name__}")
    threads = torch.get_num_threads() if threads is None else checks.integer("threads", threads, 1, 1024)
    if isinstance(batch, SpikeTimes | Sequence):
        sizes = batch.shape if isinstance(batch, SpikeTimes) else batch
        shape = tuple(checks.size("batch", size, 0) for size in sizes)
    elif isinstance(layer, TTFSConv2d) or layer.avg_pool > 1:
        raise ValueError(f"batch must be the shape [B, C, H, W] of the layer's input, got {checks.shown(batch)}")
    else:
        shape = checks.size("batch", batch, 0), layer.in_features
    if len(shape) not in ((4,) if isinstance(layer, TTFSConv2d) else (2, 4)):
        raise ValueError(f"batch must have 4 dimensions, [B, C, H, W], or 2 for a flat input, [B, N], got {shape}")
    geometry = layer_geometry(layer, shape, layer.effective_weight_and_bias()[0])
    passes: dict[str, Any] = kernels.cpu.plan_layer(geometry, threads)
    return Plan(kernels.ISA, threads, **passes)
