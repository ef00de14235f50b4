"""What a sample costs: synaptic additions for each event, multiplications where a layer gets real numbers."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from firstspike import SpikeTimes


@dataclass
class Count:
    """Sums over `samples`: additions of weights (events times fan-out), multiply-accumulates, membrane updates."""

    samples: int = 0
    additions: float = 0.0
    macs: float = 0.0
    updates: float = 0.0

    def means(self) -> dict[str, float]:
        """Per sample."""
        n = max(self.samples, 1)
        return {"additions": self.additions / n, "macs": self.macs / n, "updates": self.updates / n}


def products(inputs: Tensor, layer: Any) -> float:
    """Sum over the events in `inputs`, [B, N] or [B, C, H, W] (how many a unit), of the weights that each reaches.

    Padding costs nothing. Where a layer pools its input by average, every unpooled event enters on its own.
    """
    pool = getattr(layer, "avg_pool", 1)
    if pool > 1:
        inputs = F.avg_pool2d(inputs, pool, divisor_override=1)
    weight = layer.weight
    if weight.dim() == 2:
        return float(inputs.sum(dtype=torch.float64)) * weight.shape[0]
    ones = inputs.new_ones(1, 1, *weight.shape[2:])
    reached = F.conv2d(inputs.sum(1, keepdim=True), ones, stride=layer.stride, padding=layer.padding)
    return float(reached.sum(dtype=torch.float64)) * weight.shape[0]


class Counter:
    """Counts while a model runs: `with Counter(model) as count: model(x)`."""

    def __init__(self, model: nn.Module) -> None:
        """Prepare to watch every layer of `model` that has a weight."""
        self.count = Count()
        self._layers = [m for m in model.modules() if isinstance(getattr(m, "weight", None), Tensor)]
        self._hooks: list[Any] = []

    def __enter__(self) -> Count:
        for layer in self._layers:
            self._hooks.append(layer.register_forward_hook(self._watch))
        return self.count

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @torch.no_grad()
    def _watch(self, layer: Any, arguments: tuple[Any, ...], output: Any) -> None:
        x = arguments[0]
        first = layer is self._layers[0]
        if isinstance(x, SpikeTimes):
            self.count.additions += products((~x.silent).float(), layer)
        elif hasattr(layer, "steps") and x.dim() in (3, 5):  # a dense train [T, B, ...], which max pooling makes
            self.count.additions += products(x.sum(0), layer)
        else:
            self.count.macs += products(torch.ones_like(x), layer)
        if hasattr(layer, "steps"):
            neurons = output.times.numel() if isinstance(output, SpikeTimes) else output[0].numel()
            self.count.updates += layer.steps * neurons
        if first:
            self.count.samples += len(output) if isinstance(output, SpikeTimes) else _batch(layer, output)


def _batch(layer: nn.Module, output: Tensor) -> int:
    return output.shape[1] if hasattr(layer, "steps") else output.shape[0]
