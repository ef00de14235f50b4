"""One epoch of training."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from ..models import Observation
from ..nn.firing import bound_thresholds, learned_thresholds
from .batches import Data, count, epoch_batches
from .config import Config
from .distributed import ProcessGroup
from .evaluation import Diverged, Meter, check_labels, check_scores, observed
from .penalty import Penalty
from .result import Epoch, Metrics

OBSERVE_EVERY = 10  # batches; spikes and accuracies of earlier stops are a by-product, not worth their time in each one

Loss = Callable[[Tensor, Tensor], Tensor]


class Forward(nn.Module):
    """A net whose forward also observes on demand, so that DistributedDataParallel sees one call in both cases."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, observe: bool) -> tuple[Tensor, Observation | None]:
        """Scores [B, classes], and the observation if asked for and the net has spikes."""
        return observed(self.model, x) if observe else (self.model(x), None)


@dataclass(frozen=True)
class Method:
    """How an epoch is trained, besides its data.

    loss: from scores and labels to the mean loss or one loss per sample; None for the cross-entropy. base: a given optimizer's
    learning rates, one per parameter group, which the schedule scales; None: the config's rate is set. penalty: on spikes.
    shown: show progress.
    """

    config: Config
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    loss: Loss | None = None
    base: tuple[float, ...] | None = None
    penalty: Penalty | None = None
    shown: bool = False

    def batch_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The sum of the losses of a batch; 0, with a gradient, for an empty one."""
        if self.loss is None or not len(labels):
            return F.cross_entropy(scores, labels, reduction="sum", label_smoothing=self.config.label_smoothing)
        value = self.loss(scores, labels)
        if not isinstance(value, Tensor) or value.shape not in ((), labels.shape):
            got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"loss must return a mean or one loss per sample [{len(labels)}], got {got}")
        return value.sum() if value.ndim else value * len(labels)

    def scores(self, forward: nn.Module, x: Tensor, observe: bool) -> tuple[Tensor, Observation | None]:
        """What a `Forward` gives, its products in the config's precision, watched for the penalty."""
        low = self.config.precision == "bfloat16"
        watch = nullcontext() if self.penalty is None else self.penalty.watch
        with watch, torch.autocast(self.processes.device.type, torch.bfloat16, enabled=low):
            scores, seen = forward(x, observe)
        return scores.float() if low else scores, seen

    def penalized(self, loss: Tensor, samples: int, step: int, total: int) -> Tensor:
        """The sum of the losses of a batch with the penalty on its spikes."""
        term = None if self.penalty is None or not samples else self.penalty.term(step, total)
        return loss if term is None else loss + samples * term

    def set_rate(self, optimizer: torch.optim.Optimizer, step: int, per_epoch: int) -> float:
        """Set the learning rate of a step, and return it (of the first parameter group)."""
        config = self.config
        rate = learning_rate(
            step,
            total=config.epochs * per_epoch,
            peak=config.lr if self.base is None else 1.0,
            schedule=config.schedule,
            warmup=config.warmup * per_epoch,
        )
        for index, group in enumerate(optimizer.param_groups):
            group["lr"] = rate if self.base is None else rate * self.base[index]
        return float(optimizer.param_groups[0]["lr"])


def learning_rate(step: int, *, total: int, peak: float, schedule: str, warmup: float) -> float:
    """The learning rate of one optimizer step 0..total-1, a function of the step alone; warmup: steps of linear rise.

    With p from 0 at the warmup's end to 1 at the run's: "cosine", peak (1 + cos(pi p)) / 2; "linear", peak (1 - p); "constant".
    """
    if step + 1 < warmup:
        return peak * (step + 1) / warmup
    progress = min(max((step - warmup) / max(total - warmup, 1), 0.0), 1.0)
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * progress)) / 2
    return peak * (1 - progress) if schedule == "linear" else peak


def train_epoch(
    forward: nn.Module,
    optimizer: torch.optim.Optimizer,
    dataset: Data,
    method: Method,
    epoch: int,
    after_step: Callable[[], object] | None = None,
) -> tuple[Metrics, dict[str, float]]:
    """Go once over the training samples; returns the measures, and the entry's lr, seconds and step_seconds.

    forward: a `Forward`, perhaps wrapped by `ProcessGroup.wrap`. epoch: 0, 1, ...: picks the order of the samples, the
    augmentation, and the place in the schedule. after_step: called after every step. Diverged if the loss is not finite.
    """
    began = time.perf_counter()
    config, processes = method.config, method.processes
    per_epoch = count(dataset, config.batch)
    learned = bool(learned_thresholds(forward))
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    forward.train()
    meter, inside, rate = Meter(processes.device), 0.0, config.lr
    work = epoch_batches(dataset, config, epoch, processes)
    for index, (x, labels, whole) in enumerate(_shown(work, per_epoch, meter, method, epoch)):
        rate = method.set_rate(optimizer, epoch * per_epoch + index, per_epoch)
        start = time.perf_counter()
        scores, seen = method.scores(forward, x, index % OBSERVE_EVERY == 0)
        scores = check_scores(scores, len(labels))
        check_labels(labels, scores.shape[1])
        loss = method.batch_loss(scores, labels)
        if not loss.requires_grad:
            raise ValueError("the loss has no gradient; take `firstspike.losses.times` in place of `.times`, which are bytes")
        forward.zero_grad()  # of parameters that the optimizer does not have as well
        optimizer.zero_grad()
        objective = method.penalized(loss, len(labels), epoch * per_epoch + index, config.epochs * per_epoch)
        (objective * (processes.world / whole)).backward()  # processes average: a share's sum counts world-fold
        if config.clip:
            nn.utils.clip_grad_norm_(trained, config.clip)
        optimizer.step()
        if learned:
            bound_thresholds(forward)
        if after_step is not None:
            after_step()
        inside += time.perf_counter() - start
        meter.add(scores, labels, loss)
        if seen is not None:
            meter.observe(seen, labels)
    metrics = meter.metrics(processes)
    return metrics, {"lr": rate, "seconds": time.perf_counter() - began, "step_seconds": inside}


def check_finite(module: nn.Module, when: str) -> None:
    """Raise Diverged that names the first parameter or buffer with NaN or infinity.

    A spiking net does not show them: a neuron whose current is NaN never fires, and scores and loss stay finite.
    """
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise Diverged(f"{name} holds NaN or infinity {when}; try a smaller learning rate, a warmup, or clip")


def _shown(work: Iterator[Any], total: int, meter: Meter, method: Method, epoch: int) -> Iterator[Any]:
    """The batches, with a progress bar where stderr is a terminal."""
    if not method.shown:
        yield from work
        return
    title = f"epoch {epoch + 1}/{method.config.epochs}"
    with tqdm(total=total, desc=title, unit="batch", leave=False, file=sys.stderr, disable=None) as bar:
        for item in work:
            yield item
            if bar.update():  # the numbers are read only when the bar is redrawn
                loss, accuracy = meter.running()
                bar.set_postfix_str(f"loss {loss:.4f} accuracy {accuracy:.2%}", refresh=False)


def line(entry: Epoch, epochs: int) -> str:
    """An epoch in one line."""
    words = [f"epoch {entry.epoch}/{epochs}", f"loss {entry.train.loss:.4f}", f"train {entry.train.accuracy:.2%}"]
    for name, part in (("validation", entry.validation), ("test", entry.test)):
        if part is not None:
            words.append(f"{name} {part.accuracy:.2%}")
    measured = entry.test or entry.validation or entry.train
    if measured.spikes_per_neuron is not None:
        words.append(f"{measured.spikes_per_neuron:.3f} spikes/neuron")
    return ", ".join([*words, f"{entry.seconds:.1f} s"])
