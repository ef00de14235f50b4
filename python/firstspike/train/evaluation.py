"""Measure a net on a data set."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..data import Dataset, Normalize
from ..models import TTFSNet
from .batches import batches
from .distributed import ProcessGroup
from .metrics import Meter, Metrics

BATCH = 500


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    *,
    normalize: Normalize | None = None,
    batch: int = BATCH,
    processes: ProcessGroup | None = None,
) -> Metrics:
    """Measure a net on all images of a data set; the loss is the cross-entropy, without smoothing.

    Args:
        model: a `TTFSNet`, whose spikes are measured too, or any module from [B, C, H, W] to scores [B, classes].
        dataset: on the net's device.
        normalize: conversion of the images; None divides by 255.
        batch: images a batch.
        processes: this process's place among those that share the work.

    Raises:
        ValueError: for a data set without images.
    """
    if not len(dataset):
        raise ValueError("dataset must have at least one image")
    training = model.training
    model.eval()
    processes = processes or ProcessGroup()
    meter = Meter(dataset.images.device)
    with torch.inference_mode():
        for x, labels, _ in batches(dataset, normalize or Normalize(), batch, processes=processes):
            if isinstance(model, TTFSNet):
                seen = model.observe(x)
                meter.observe(seen, model.steps)
                scores = seen.scores
            else:
                scores = model(x)
            meter.add(scores, labels, F.cross_entropy(scores, labels, reduction="sum"))
    model.train(training)
    return meter.metrics(processes)
