"""What is measured in training and evaluation, summed over batches and processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._base import fields
from ..models import Observation
from .distributed import ProcessGroup


@dataclass(frozen=True)
class Metrics:
    """Measures over a set of images. A measure that does not exist for a net (spikes of a ReLU net) is None.

    Attributes:
        images: how many images were measured.
        loss: mean loss.
        accuracy: share of correct predictions, 0..1.
        steps_mean, steps_median, steps_p95: steps to decision, 1..T (`Observation.decision_step` + 1; T where no output
            spike came). A quantile is the smallest number that this share of the images does not exceed.
        ties: share of images whose first output step has spikes of several classes, 0..1.
        silent: share of images without an output spike, 0..1.
        spikes_per_neuron: mean spikes per neuron and image over all firing layers, 0..1.
        spikes_per_layer: the same for each firing layer.
        spikes_per_image: mean spikes per image.
        pooled_twice: share of the units of max pools that fired more than once, 0..1; None without a max pool.

    Examples:
        >>> net = models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8)
        >>> measured = train.evaluate(net, data.load("digits", train=False))
        >>> measured.images, 0 <= measured.accuracy <= 1, 1 <= measured.steps_mean <= 8
        (360, True, True)
    """

    images: int
    loss: float
    accuracy: float
    steps_mean: float | None = None
    steps_median: float | None = None
    steps_p95: float | None = None
    ties: float | None = None
    silent: float | None = None
    spikes_per_neuron: float | None = None
    spikes_per_layer: list[float] | None = None
    spikes_per_image: float | None = None
    pooled_twice: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The measures as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Metrics:
        """The measures out of `to_dict`. Raises TypeError or ValueError for others."""
        found = cls(**values)
        fields.check_types(found)
        return found


class Meter:
    """Sums that become `Metrics`. Nothing is read back from the device before `metrics` is called."""

    def __init__(self, device: torch.device) -> None:
        self._images = 0
        self._predicted = torch.zeros(2, dtype=torch.float64, device=device)  # loss, right
        self._spiking: dict[str, Tensor] = {}

    def add(self, scores: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Add a batch's predictions: scores [B, classes], labels [B], the sum of the losses."""
        right = (scores.detach().argmax(1) == labels).sum()
        self._images += len(labels)
        self._predicted[0] += loss.detach()
        self._predicted[1] += right

    def observe(self, seen: Observation) -> None:
        """Add what a batch's spikes did; a part of the batches may be enough."""
        cost = (seen.decision_step + 1).clamp(max=seen.steps)
        self._sum("steps", torch.bincount(cost, minlength=seen.steps + 1))
        self._sum("ties", seen.ties.sum())
        self._sum("silent", seen.silent.sum())
        fired = [(~layer.silent).sum() for layer in seen.layers]  # none in a net without a firing layer
        self._sum("layer", torch.stack(fired) if fired else cost.new_empty(0))
        self._sum("neurons", torch.tensor([layer.times.numel() for layer in seen.layers], device=cost.device))
        self._sum("twice", seen.repeated.sum())
        self._sum("pooled", seen.units.sum())

    def _sum(self, name: str, value: Tensor) -> None:
        value = value.to(torch.float64)
        self._spiking[name] = self._spiking[name] + value if name in self._spiking else value

    def running(self) -> tuple[float, float]:
        """Mean loss and accuracy so far, of this process."""
        loss, right = self._predicted.tolist()
        return loss / max(self._images, 1), right / max(self._images, 1)

    def metrics(self, processes: ProcessGroup) -> Metrics:
        """The measures over all processes; every process must call it. ValueError where there was no sample."""
        names = sorted(self._spiking)
        images = self._predicted.new_tensor([self._images])
        parts = [images, self._predicted, *(self._spiking[name].flatten() for name in names)]
        total = processes.sum(torch.cat(parts)).split([part.numel() for part in parts])
        (number,), (loss, right) = total[0].tolist(), total[1].tolist()
        if not number:
            raise ValueError("the data must give at least one sample each time it is gone through, got none")
        predicted = {"images": int(number), "loss": loss / number, "accuracy": right / number}
        if not names:
            return Metrics(**predicted)
        return Metrics(**predicted, **_spiking(dict(zip(names, total[2:], strict=True))))


def _spiking(sums: Mapping[str, Tensor]) -> dict[str, Any]:
    histogram, layer, neurons = sums["steps"], sums["layer"], sums["neurons"]
    seen = float(histogram.sum())
    pooled = float(sums["pooled"])
    return {
        "steps_mean": float((histogram * torch.arange(len(histogram), device=histogram.device)).sum()) / seen,
        "steps_median": quantile(histogram, 0.5),
        "steps_p95": quantile(histogram, 0.95),
        "ties": float(sums["ties"]) / seen,
        "silent": float(sums["silent"]) / seen,
        "spikes_per_neuron": float(layer.sum() / neurons.sum()) if len(layer) else 0.0,
        "spikes_per_layer": (layer / neurons).tolist(),
        "spikes_per_image": float(layer.sum()) / seen,
        "pooled_twice": float(sums["twice"]) / pooled if pooled else None,
    }


def quantile(histogram: Tensor, share: float) -> float:
    """The smallest value v such that at least `share` of the counts lie at 0..v; histogram [v] counts value v."""
    reached = histogram.cumsum(0) >= share * histogram.sum() - 1e-9
    return float(reached.int().argmax())
