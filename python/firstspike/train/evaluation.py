"""Measure a net on a data set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

from .._base import checks
from .._base.modules import evaluating, has_any_hooks, has_own_forward
from ..data import Dataset, Normalize
from ..data.normalize import warn_of_missing, warn_of_pixels
from ..models import TTFSNet, as_net
from ..spikes import SpikeTimes
from .batches import GivenData, as_data, batches, loader_batches
from .distributed import ProcessGroup
from .metrics import Meter, Metrics

BATCH = 500
_PASSED_OVER = (nn.Sequential, nn.Flatten, nn.Identity)  # parts of a chain that a TTFSNet of it does not call


def evaluate(
    model: nn.Module,
    dataset: GivenData,
    *,
    normalize: Normalize | None = None,
    batch: int = BATCH,
    processes: ProcessGroup | None = None,
) -> Metrics:
    """Measure a net on all samples of a data set; the loss is the cross-entropy, without smoothing.

    Args:
        model: any module from [B, C, H, W] to scores [B, classes] of a float type; of a `TTFSNet`, and of a Sequential that
            `models.as_net` takes, the spikes are measured, too, unless it has a forward of its own or hooks.
        dataset: a `data.Dataset` on the net's device, a pair of arrays or tensors (`data.from_arrays`), or a DataLoader of
            (input, label).
        normalize: conversion of the images; None divides uint8 by 255 and leaves floats as they are.
        batch: samples per batch; a DataLoader has its own.
        processes: this process's place among those that share the work.

    Warns of float images that are probably pixels that were not divided by 255.

    Raises:
        TypeError, ValueError: for a net that gives no scores, a data set without samples, or labels that the net has no
            score for.

    Examples:
        >>> net = models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8)
        >>> train.evaluate(net, data.load("digits", train=False)).images
        360
    """
    checks.instance("model", model, nn.Module, "a torch.nn.Module")
    given = as_data("dataset", dataset)
    batch = checks.integer("batch", batch, 1)
    checks.optional("normalize", normalize, Normalize, "a data.Normalize")
    if not len(given):
        raise ValueError("dataset must have at least one image")
    processes = processes or ProcessGroup()
    scaling = normalize or Normalize()
    if isinstance(given, Dataset):
        given = given if given is dataset else given.to(device_of(model))
        device = given.images.device
        warn_of_pixels(given.images, scaling)
        if normalize is None and given.steps is None and given.images.dtype == torch.uint8:
            warn_of_missing(model, "evaluate divides its bytes by 255 alone: pass normalize=")
        work = batches(given, scaling, batch, processes=processes)
    else:
        device = device_of(model)
        work = loader_batches(given, scaling, device, processes=processes)
    meter = Meter(device)
    with evaluating(model), torch.no_grad():
        for x, labels, _ in work:
            net = observable(model, x)
            with explaining_empty_shares(len(labels)):
                seen = None if net is None else net.observe(x)
                scores = model(x) if seen is None else seen.scores
            if seen is not None:
                meter.observe(seen)
            scores = check_scores(scores, len(labels))
            check_labels(labels, scores.shape[1])
            meter.add(scores, labels, F.cross_entropy(scores, labels, reduction="sum"))
    return meter.metrics(processes)


@contextlib.contextmanager
def explaining_empty_shares(samples: int) -> Iterator[None]:
    """Within, what a net raises for a share of a batch without samples becomes a ValueError that says what to do."""
    try:
        yield
    except Exception as error:
        if samples:
            raise
        raise ValueError(
            "the net must take a batch without samples where a batch has fewer samples than there are processes; choose "
            f"another batch size, or another limit ({type(error).__name__}: {error})"
        ) from error


def device_of(model: nn.Module) -> torch.device:
    """Where a net's parameters are; the CPU for one without."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def observable(model: nn.Module, x: torch.Tensor | SpikeTimes) -> TTFSNet | None:
    """The TTFSNet whose `observe(x)` gives the scores that calling the model on x gives; None where there is none.

    It is the model itself, or what `as_net` makes of a Sequential of our layers, where neither has hooks or a forward of its own.
    """
    if isinstance(model, TTFSNet):
        uncalled: list[nn.Module] = [model]
    elif isinstance(model, nn.Sequential):
        uncalled = [part for part in model.modules() if isinstance(part, _PASSED_OVER)]
    else:
        return None
    if any(has_own_forward(part) or has_any_hooks(part) for part in uncalled):
        return None
    try:
        return as_net(model, tuple(x.shape[1:]))
    except (TypeError, ValueError):
        return None  # a chain with parts of another kind


def check_scores(scores: object, samples: int) -> torch.Tensor:
    """A net's scores, in float32 at least, in which losses are summed.

    Raises TypeError or ValueError for an output that is not scores, float [samples, classes].
    """
    if not isinstance(scores, torch.Tensor) or not scores.is_floating_point():
        kind = checks.shown(scores) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise TypeError(f"the net must give scores [B, classes] of a float type, got {kind}")
    if scores.ndim != 2 or len(scores) != samples:
        raise ValueError(f"the net must give scores [B, classes], got {list(scores.shape)} for a batch of {samples}")
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def check_labels(labels: torch.Tensor, classes: int) -> None:
    """Raise ValueError for labels outside 0..classes-1; on a device, where that would stop the pipeline, torch checks."""
    if labels.device.type == "cpu":
        checks.labels_in_range(labels, classes)
