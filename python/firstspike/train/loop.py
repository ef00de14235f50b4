"""One epoch of training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._base.checks import warn
from ..data import Dataset, Normalize
from ..models import Observation
from ..nn.firing import LEAST, bound_thresholds, learned_thresholds
from . import augment
from .averaging import WeightAverage
from .batches import Batch, Data, batches, count, loader_batches
from .config import Config
from .distributed import ProcessGroup
from .evaluation import check_labels, check_scores, explaining_empty_shares, observable
from .metrics import Meter, Metrics
from .optimizer_state import OptimizerState, parameters_of
from .progress import ProgressBar
from .schedule import learning_rate
from .seeds import generator

OBSERVE_EVERY = 10  # batches; spikes and steps to decision are a by-product, not worth their time in each one

Loss = Callable[[Tensor, Tensor], Tensor]


class Diverged(ArithmeticError):
    """The loss or a weight is no longer a finite number.

    Examples:
        >>> config = train.Config(data="digits", spec="64-16-10", epochs=1)
        >>> train.fit(config, loss=lambda scores, labels: scores.sum() * torch.nan, progress=False)
        Traceback (most recent call last):
            ...
        firstspike.train.loop.Diverged: ...
    """


class Forward(nn.Module):
    """A net whose forward also observes on demand, so that DistributedDataParallel sees one call in both cases."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, observed: bool) -> tuple[Tensor, Observation | None]:
        """Scores [B, classes], and the observation if asked for and the net has spikes."""
        net = observable(self.model, x) if observed else None
        if net is not None:
            seen = net.observe(x)
            return seen.scores, seen
        scores: Tensor = self.model(x)
        return scores, None


@dataclass(frozen=True)
class Method:
    """How an epoch is trained, besides its data.

    Attributes:
        config: the run's settings.
        normalize: conversion of the images.
        processes: this process's place.
        loss: from scores [B, classes] and labels [B] to the mean loss, or to one loss per sample [B]; None for the
            cross-entropy.
        base: an own optimizer's learning rates, one per parameter group, which the schedule scales; None where the
            config's learning rate is set.
    """

    config: Config
    normalize: Normalize = field(default_factory=Normalize)
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    loss: Loss | None = None
    base: tuple[float, ...] | None = None

    @property
    def smaller_rate(self) -> str:
        """What to try where training diverges."""
        return (
            f"a smaller lr than {self.config.lr}" if self.base is None else "a smaller learning rate of the optimizer"
        )

    def batch_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The sum of the losses of a batch; 0, with a gradient, for an empty one."""
        if self.loss is None:
            return batch_loss(scores, labels, self.config.label_smoothing)
        if not len(labels):
            return scores.sum()
        value = self.loss(scores, labels)
        if not isinstance(value, Tensor) or value.shape not in ((), labels.shape):
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"loss must return a mean or one loss per sample [{len(labels)}], got {shape}")
        return value.sum() if value.ndim else value * len(labels)


def batch_loss(scores: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """The sum of the cross-entropies of scores [B, classes]; 0, with a gradient, for an empty batch."""
    return F.cross_entropy(scores, labels, reduction="sum", label_smoothing=label_smoothing)


def train_epoch(
    forward: nn.Module,
    optimizer: torch.optim.Optimizer,
    dataset: Data,
    method: Method,
    *,
    epoch: int,
    device: torch.device,
    bar: ProgressBar,
    average: WeightAverage | None = None,
    kept: OptimizerState | None = None,
) -> tuple[Metrics, dict[str, Any]]:
    """Go once over the training samples.

    Args:
        forward: a `Forward`, or one wrapped by `ProcessGroup.wrap`.
        optimizer: its learning rate is set in every step.
        dataset: the training samples.
        method: how.
        epoch: 0, 1, ...: picks the order of the samples, the augmentation, and the place in the schedule.
        device: where the net is.
        bar: shows progress.
        average: is told of every step.
        kept: what checkpoints will hold of the optimizer; looked at after the first step.

    Returns:
        The measures, and the entry's lr, seconds and step_seconds.

    Raises:
        Diverged: if the loss or a parameter is not finite.
        TypeError: if the optimizer keeps what a checkpoint cannot hold.
    """
    began = time.perf_counter()
    config, processes = method.config, method.processes
    per_epoch = count(dataset, config.batch)
    inner: Any = getattr(forward, "module", forward)
    net: nn.Module = inner.model
    learned = bool(learned_thresholds(forward))
    trained = set(parameters_of(optimizer))
    loss_module = method.loss if isinstance(method.loss, nn.Module) else nn.Module()
    clipped = [one for one in (*forward.parameters(), *loss_module.parameters()) if one in trained]
    forward.train()
    meter, inside, rate = Meter(device), 0.0, config.lr
    bar.begin(epoch + 1, config.epochs, per_epoch)
    for index, (x, labels, whole) in enumerate(_work(dataset, method, epoch, device)):
        rate = _set_rate(optimizer, method, epoch * per_epoch + index, per_epoch)
        start = time.perf_counter()
        with explaining_empty_shares(len(labels)):
            scores, seen = forward(x, index % OBSERVE_EVERY == 0)
        scores = check_scores(scores, len(labels))
        check_labels(labels, scores.shape[1])
        loss = method.batch_loss(scores, labels)
        if not loss.requires_grad:
            raise ValueError("the net must have a parameter that is trained and that the loss depends on, got none")
        forward.zero_grad()  # of parameters that the optimizer does not have as well
        loss_module.zero_grad()
        optimizer.zero_grad()
        # processes average their gradients: a share's sum counts world-fold
        (loss * (processes.world / whole)).backward()
        if epoch == 0 and index == 0:
            check_missing_gradients(net, processes)
            warn_of_untrained_loss(loss_module, trained)
            if len(labels):
                warn_of_zero_gradients(net)
        if config.clip:
            nn.utils.clip_grad_norm_(clipped, config.clip)
        optimizer.step()
        if kept is not None and index == 0:
            kept.check()
        if learned:
            bound_thresholds(forward)
        if average is not None:
            average.add(epoch)
        inside += time.perf_counter() - start
        meter.add(scores, labels, loss)
        if seen is not None:
            meter.observe(seen)
        bar.step(meter)
    metrics = meter.metrics(processes)
    advice = f"try {method.smaller_rate}, a warmup, or clip"
    if not math.isfinite(metrics.loss):
        raise Diverged(f"the loss is {metrics.loss} in epoch {epoch + 1}; {advice}")
    check_finite(forward, method.loss, f"after epoch {epoch + 1}; {advice}")
    seconds = time.perf_counter() - began
    return metrics, {"lr": rate, "seconds": seconds, "step_seconds": inside}


def check_finite(module: nn.Module, loss: Loss | None, when: str) -> None:
    """Raise Diverged that names the first parameter or buffer of a net, or parameter of a loss, with NaN or infinity.

    A spiking net does not show them: a neuron whose current is NaN never fires, and scores and loss stay finite.
    """
    tensors = {name.removeprefix("module.").removeprefix("model."): v for name, v in module.state_dict().items()}
    check_dense("net", tensors)
    if isinstance(loss, nn.Module):
        tensors |= {f"loss.{name}": value for name, value in loss.named_parameters()}
    for name, value in tensors.items():
        if value.dtype.is_floating_point and not bool(torch.isfinite(value).all()):
            raise Diverged(f"{name} holds NaN or infinity {when}")


def check_dense(owner: str, state: dict[str, Any]) -> None:
    """Raise TypeError for a state_dict with something else than dense tensors, which a checkpoint cannot hold."""
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            what = "a sparse tensor" if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"the {owner}'s state_dict must hold dense tensors alone, got {what} as {name}")


def check_thresholds(model: nn.Module) -> None:
    """Raise ValueError for a learned threshold below the least that training lets them reach."""
    for theta in learned_thresholds(model):
        if theta.numel() and float(theta.detach().min()) < LEAST:
            raise ValueError(
                f"learned thresholds must be at least {LEAST:g}, below which training does not let them fall, got "
                f"{float(theta.detach().min()):g}; with requires_grad_(False) they stay as they are"
            )


def check_missing_gradients(net: nn.Module, processes: ProcessGroup) -> None:
    """Warn of parameters that want a gradient and got none from a backward pass: training would leave them as they are.

    ValueError where there are several processes, which would wait for each other's gradients.
    """
    missing = [name for name, value in net.named_parameters() if value.requires_grad and value.grad is None]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        if processes.world > 1:
            raise ValueError(
                f"every parameter of the net must get a gradient where processes share the batches, none reached {missing[0]}"
                f"{others}: freeze it with requires_grad_(False)"
            )
        warn(
            f"no gradient reached {missing[0]}{others}, which training leaves unchanged; the bytes of SpikeTimes.times carry "
            "none: put spikes together with firstspike.cat, or freeze the parameter with requires_grad_(False)",
        )


def warn_of_untrained_loss(loss: nn.Module, trained: Collection[nn.Parameter]) -> None:
    """Warn of parameters of a loss that want a gradient, which the optimizer does not have."""
    left = [name for name, value in loss.named_parameters() if value.requires_grad and value not in trained]
    if left:
        warn(
            f"the optimizer does not have {left[0]} of the loss, which stays as it is: give fit an optimizer= that has it, or "
            "freeze it with requires_grad_(False)"
        )


def warn_of_zero_gradients(net: nn.Module) -> None:
    """Warn of a net whose weights all got a gradient of zeros from a backward pass: it would not learn from such samples."""
    gradients = [value.grad for value in net.parameters() if value.ndim > 1 and value.grad is not None]
    if gradients and not any(bool(gradient.any()) for gradient in gradients):
        warn(
            "the gradients of all weights are zero for the first batch: no spike reaches the outputs, and no neuron that "
            "could send one comes near its threshold; scale the data up (standardize), or give the layers larger weights "
            "(hidden_gain) or a lower threshold",
        )


def _work(dataset: Data, method: Method, epoch: int, device: torch.device) -> Iterator[Batch]:
    config, total = method.config, len(dataset)
    if not isinstance(dataset, Dataset):
        return loader_batches(
            dataset, method.normalize, device, seed=config.seed, epoch=epoch, processes=method.processes
        )
    order = torch.randperm(total, generator=generator(config.seed, "order", epoch))
    draws = None
    changes = config.augmentation
    if epoch >= config.epochs - config.unerased_epochs:
        changes = replace(changes, erase=0.0)
    if changes.active:
        _, height, width = dataset.input_shape
        draws = augment.draw(changes, total, (height, width), generator(config.seed, "augmentation", epoch))
    return batches(dataset, method.normalize, config.batch, order=order, draws=draws, processes=method.processes)


def _set_rate(optimizer: torch.optim.Optimizer, method: Method, step: int, per_epoch: int) -> float:
    """Set the learning rate of a step, and return it (of the first parameter group)."""
    config = method.config
    rate = learning_rate(
        step,
        total=config.epochs * per_epoch,
        peak=config.lr if method.base is None else 1.0,
        schedule=config.schedule,
        warmup=config.warmup * per_epoch,
    )
    for index, group in enumerate(optimizer.param_groups):
        group["lr"] = rate if method.base is None else rate * method.base[index]
    return float(optimizer.param_groups[0]["lr"])
