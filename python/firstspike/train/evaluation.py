"""Measure a net on a data set, and its answers for images."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._base import checks
from .._base.modules import evaluating
from ..data import Dataset
from ..data.dataset import samples_of
from ..models import Observation, TTFSNet, as_net
from ..spikes import SpikeTimes
from .batches import Data, GivenData, as_data, batches, once
from .distributed import ProcessGroup
from .result import Metrics

BATCH = 500


class Diverged(ArithmeticError):
    """The loss or a weight is no longer a finite number.

    Examples
    --------
    >>> train.fit(train.Config(data="digits", spec="64-16-10", lr=1e38, optimizer="sgd"), progress=False)
    Traceback (most recent call last):
        ...
    firstspike.train.evaluation.Diverged: ...
    """


def evaluate(model: nn.Module, dataset: GivenData, *, batch: int = BATCH) -> Metrics:
    """Measure a net on all samples of a data set; the loss is the cross-entropy, without smoothing.

    Parameters
    ----------
    model : any module from [B, C, H, W] to scores [B, classes] of a float type; of a `TTFSNet`, and a
        Sequential that `models.as_net` takes, the spikes are measured, too.
    dataset : a `data.Dataset`, a pair of arrays or tensors (`data.from_arrays`), or a DataLoader of (input, label).
    batch : samples per batch; a DataLoader has its own.

    Examples
    --------
    >>> net = models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8)
    >>> train.evaluate(net, data.load("digits", train=False)).images
    360
    """
    checks.instance("model", model, nn.Module, "a torch.nn.Module")
    part = as_data("dataset", dataset)
    device = device_of(model)
    part = part.to(device) if isinstance(part, Dataset) else part
    return measure(model, part, ProcessGroup(device=device), checks.integer("batch", batch, 1))


def measure(model: nn.Module, part: Data, processes: ProcessGroup, batch: int = BATCH) -> Metrics:
    """`evaluate` for data on the device, shared among processes."""
    meter = Meter(processes.device)
    with evaluating(model), torch.no_grad():
        for x, labels, _ in once(part, batch, processes):
            scores, seen = observed(model, x)
            if seen is not None:
                meter.observe(seen, labels)
            scores = check_scores(scores, len(labels))
            check_labels(labels, scores.shape[1])
            meter.add(scores, labels, F.cross_entropy(scores, labels, reduction="sum"))
    return meter.metrics(processes)


@torch.no_grad()
def predict(net: nn.Module, images: Any, *, batch: int = BATCH, scores: bool = False) -> Tensor:
    """Return the class of each image, int64 [B], or with `scores` the net's scores, float32 [B, classes].

    Parameters
    ----------
    net : any module from images to scores; it is left in the mode that it had.
    images : [B, ...], an array or a tensor, uint8 (divided by 255) or of a float type, on any device; or `SpikeTimes`.
        The answer is on the same device.
    batch : images per call of the net.
    scores : return scores.

    Examples
    --------
    >>> net = models.mlp("64-16-10", input_shape=(1, 8, 8), steps=8)
    >>> train.predict(net, data.load("digits", train=False).images[:5]).shape
    torch.Size([5])
    """
    checks.instance("net", net, nn.Module, "a torch.nn.Module")
    samples, steps = samples_of("images", images)
    unknown = torch.zeros(len(samples), dtype=torch.int64, device=samples.device)
    part = Dataset(samples, unknown, 1, "images", "given in Python", steps).to(device_of(net))
    answers = []
    with evaluating(net):
        for x, labels, _ in batches(part, checks.integer("batch", batch, 1)):
            answer = check_scores(net(x), len(labels))
            answers.append((answer if scores else answer.argmax(1)).to(samples.device))
    return torch.cat(answers) if answers else unknown


def observed(model: nn.Module, x: Tensor | SpikeTimes) -> tuple[Tensor, Observation | None]:
    """The net's scores and, of a TTFSNet or a Sequential of layers, what its spikes do."""
    net: TTFSNet | None = None
    if isinstance(model, TTFSNet | nn.Sequential):
        with contextlib.suppress(TypeError, ValueError):  # of a chain with parts of another kind
            net = as_net(model, tuple(x.shape[1:]))
    if net is None:
        scores: Tensor = model(x)
        return scores, None
    seen = net.observe(x)
    return seen.scores, seen


def device_of(model: nn.Module) -> torch.device:
    """The device of a net's parameters; the CPU for one without."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def check_scores(scores: object, samples: int) -> Tensor:
    """A net's scores, in float32 at least, in which losses are summed; TypeError or ValueError for another output."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        raise TypeError(f"the net must give scores [B, classes] of a float type, got {checks.shown(scores)}")
    if scores.ndim != 2 or len(scores) != samples:
        raise ValueError(f"the net must give scores [B, classes], got {list(scores.shape)} for a batch of {samples}")
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise ValueError for labels outside 0..classes-1; on a device, where that would stop the pipeline, torch checks."""
    if labels.device.type == "cpu":
        checks.labels_in_range(labels, classes)


class Meter:
    """Sums that become `Metrics`. Nothing is read back from the device before `metrics` is called."""

    def __init__(self, device: torch.device) -> None:
        self._images = 0
        dtype = torch.float32 if device.type == "mps" else torch.float64  # which MPS has not
        self._predicted = torch.zeros(2, dtype=dtype, device=device)  # loss, right
        self._spiking: dict[str, Tensor] = {}

    def add(self, scores: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Add a batch's predictions: scores [B, classes], labels [B], the sum of the losses."""
        right = (scores.detach().argmax(1) == labels).sum()
        self._images += len(labels)
        self._predicted[0] += loss.detach()
        self._predicted[1] += right

    def observe(self, seen: Observation, labels: Tensor) -> None:
        """Add what a batch's spikes did, labels [B]; a part of the batches may be enough."""
        cost = (seen.decision_step + 1).clamp(max=seen.steps)
        self._sum("steps", torch.bincount(cost, minlength=seen.steps + 1))
        self._sum("ties", seen.ties.sum())
        self._sum("silent", seen.silent.sum())
        fired = [(~layer.silent).sum() for layer in seen.layers]  # none in a net without a firing layer
        self._sum("layer", torch.stack(fired) if fired else cost.new_empty(0))
        self._sum("neurons", torch.tensor([layer.times.numel() for layer in seen.layers], device=cost.device))
        self._sum("twice", seen.repeated.sum())
        self._sum("pooled", seen.units.sum())
        if seen.running is not None:
            self._sum("stopped", (seen.running.argmax(-1) == labels).sum(1))

    def _sum(self, name: str, value: Tensor) -> None:
        value = value.to(self._predicted.dtype)
        self._spiking[name] = self._spiking[name] + value if name in self._spiking else value

    def running(self) -> tuple[float, float]:
        """Mean loss and accuracy so far, of this process."""
        loss, right = self._predicted.tolist()
        return loss / max(self._images, 1), right / max(self._images, 1)

    def metrics(self, processes: ProcessGroup) -> Metrics:
        """The measures over all processes, which must all call it. ValueError without a sample, Diverged for an infinite loss."""
        names = sorted(self._spiking)
        images = self._predicted.new_tensor([self._images])
        parts = [images, self._predicted, *(self._spiking[name].flatten() for name in names)]
        total = processes.sum(torch.cat(parts)).split([part.numel() for part in parts])
        (number,), (loss, right) = total[0].tolist(), total[1].tolist()
        if not number:
            raise ValueError("the data must give at least one sample each time it is gone through, got none")
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss / number}; try a smaller learning rate, a warmup, or clip")
        spiking = _spiking(dict(zip(names, total[2:], strict=True))) if names else {}
        return Metrics(images=int(number), loss=loss / number, accuracy=right / number, **spiking)


def _spiking(sums: Mapping[str, Tensor]) -> dict[str, Any]:
    histogram, layer, neurons = sums["steps"], sums["layer"], sums["neurons"]
    seen = float(histogram.sum())
    pooled = float(sums["pooled"])
    return {
        "steps_mean": float((histogram * torch.arange(len(histogram), device=histogram.device)).sum()) / seen,
        "steps_median": quantile(histogram, 0.5),
        "steps_p95": quantile(histogram, 0.95),
        "stopped": (sums["stopped"] / seen).tolist() if "stopped" in sums else None,
        "ties": float(sums["ties"]) / seen,
        "silent": float(sums["silent"]) / seen,
        "spikes_per_neuron": float(layer.sum() / neurons.sum()) if len(layer) else None,
        "spikes_per_layer": (layer / neurons).tolist() if len(layer) else None,
        "spikes_per_image": float(layer.sum()) / seen if len(layer) else None,
        "pooled_twice": float(sums["twice"]) / pooled if pooled else None,
    }


def quantile(histogram: Tensor, share: float) -> float:
    """The smallest value v such that at least `share` of the counts lie at 0..v; histogram [v] counts value v."""
    reached = histogram.cumsum(0) >= share * histogram.sum() - 1e-9
    return float(reached.int().argmax())
