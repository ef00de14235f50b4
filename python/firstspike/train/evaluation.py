"""Measure a net on a data set."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..data import Dataset
from ..models import TTFSNet
from .batches import Pixels, batches
from .distributed import Ranks
from .metrics import Metrics, Tally

BATCH = 500


def evaluate(
    model: nn.Module, dataset: Dataset, *, pixels: Pixels | None = None, batch: int = BATCH, ranks: Ranks | None = None
) -> Metrics:
    """Measure a net on all images of a data set; the loss is the cross-entropy, without smoothing.

    Args:
        model: a `TTFSNet`, whose spikes are measured too, or any module from [B, C, H, W] to scores [B, classes].
        dataset: on the net's device.
        pixels: conversion of the images; None divides by 255.
        batch: images a batch.
        ranks: this process's place among those that share the work.

    Raises:
        ValueError: for a data set without images.
    """
    if not len(dataset):
        raise ValueError("dataset must have at least one image")
    training = model.training
    model.eval()
    ranks = ranks or Ranks()
    tally = Tally(dataset.images.device)
    with torch.inference_mode():
        for x, labels, _ in batches(dataset, pixels or Pixels(), batch, ranks=ranks):
            if isinstance(model, TTFSNet):
                seen = model.observe(x)
                tally.observe(seen, model.steps)
                scores = seen.scores
            else:
                scores = model(x)
            tally.add(scores, labels, F.cross_entropy(scores, labels, reduction="sum"))
    model.train(training)
    return tally.metrics(ranks)
