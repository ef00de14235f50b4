"""One epoch of training."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import Dataset, Normalize
from ..models import Observation, TTFSNet
from . import augment
from .batches import batches, count
from .config import Config
from .distributed import ProcessGroup
from .metrics import Meter, Metrics
from .progress import ProgressBar
from .schedule import learning_rate
from .seeds import generator

OBSERVE_EVERY = 10  # batches; spikes and steps to decision are a by-product, not worth their time in each one


class Diverged(ArithmeticError):
    """The loss is no longer a finite number."""


class Forward(nn.Module):
    """A net whose forward also observes on demand, so that DistributedDataParallel sees one call in both cases."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, observed: bool) -> tuple[Tensor, Observation | None]:
        """Scores [B, classes], and the observation if asked for and the net has spikes."""
        if observed and isinstance(self.model, TTFSNet):
            seen = self.model.observe(x)
            return seen.scores, seen
        scores: Tensor = self.model(x)
        return scores, None


def batch_loss(scores: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """The sum of the cross-entropies of scores [B, classes]; 0, with a gradient, for an empty batch."""
    return F.cross_entropy(scores, labels, reduction="sum", label_smoothing=label_smoothing)


def train_epoch(
    forward: nn.Module,
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    *,
    config: Config,
    epoch: int,
    normalize: Normalize,
    processes: ProcessGroup,
    bar: ProgressBar,
) -> tuple[Metrics, dict[str, Any]]:
    """Go once over the training images.

    Args:
        forward: a `Forward`, or one wrapped by `ProcessGroup.wrap`.
        optimizer: its learning rate is set in every step.
        dataset: the training images.
        config: the run's settings.
        epoch: 0, 1, ...: picks the order of the images, the augmentation, and the place in the schedule.
        normalize: conversion of the images.
        processes: this process's place.
        bar: shows progress.

    Returns:
        The measures, and the entry's lr, seconds and step_seconds.

    Raises:
        Diverged: if the loss is not finite.
    """
    began = time.perf_counter()
    total, per_epoch = len(dataset), count(len(dataset), config.batch)
    order = torch.randperm(total, generator=generator(config.seed, "order", epoch))
    draws = None
    if config.augmentation.active:
        draws = augment.draw(
            config.augmentation, total, dataset.input_shape[1:], generator(config.seed, "augmentation", epoch)
        )
    forward.train()
    meter, steps, inside, rate = Meter(dataset.images.device), config.steps, 0.0, config.lr
    bar.begin(epoch + 1, config.epochs, per_epoch)
    work = batches(dataset, normalize, config.batch, order=order, draws=draws, processes=processes)
    for index, (x, labels, whole) in enumerate(work):
        rate = learning_rate(
            epoch * per_epoch + index,
            total=config.epochs * per_epoch,
            peak=config.lr,
            schedule=config.schedule,
            warmup=config.warmup * per_epoch,
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        start = time.perf_counter()
        scores, seen = forward(x, index % OBSERVE_EVERY == 0)
        loss = batch_loss(scores, labels, config.label_smoothing)
        optimizer.zero_grad()
        (
            loss * (processes.world / whole)
        ).backward()  # processes average their gradients: a share's sum counts world-fold
        optimizer.step()
        inside += time.perf_counter() - start
        meter.add(scores, labels, loss)
        if seen is not None:
            meter.observe(seen, steps)
        bar.step(meter)
    metrics = meter.metrics(processes)
    if not math.isfinite(metrics.loss):
        raise Diverged(
            f"the loss is {metrics.loss} in epoch {epoch + 1}; try a smaller lr than {config.lr} or a warmup"
        )
    seconds = time.perf_counter() - began
    return metrics, {"lr": rate, "seconds": seconds, "step_seconds": inside}
