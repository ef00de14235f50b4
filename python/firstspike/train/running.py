"""A run between its start and its result: net, optimizer, epochs, checkpoints."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .._base import provenance
from .._base.checks import warn
from .._base.files import write_json
from .._base.modules import evaluating, uncompiled
from ..data import Dataset, Normalize
from . import checkpoint, memory, run_data, run_folder
from .allocator import keep_freed_memory
from .averaging import WeightAverage, warn_of_running_statistics
from .batches import Data
from .build import build_model, build_optimizer
from .checkpoint import Progress
from .config import Config
from .distributed import ProcessGroup
from .evaluation import evaluate
from .given import (
    Given,
    another_run,
    description,
    refuse_foreign,
    refuse_learned_loss,
    same_data,
    same_details,
    same_net,
    same_settings,
)
from .identity import settings_of
from .loop import Diverged, Forward, Method, check_dense, check_finite, check_thresholds, train_epoch
from .metrics import Metrics
from .model_file import FILE, save_model
from .optimizer_state import OptimizerState
from .progress import ProgressBar
from .result import Epoch, Result
from .run_data import RunData
from .seeds import seeded
from .trained import Trained


@dataclass(frozen=True)
class Run:
    """A run between its start and its result."""

    config: Config
    folder: Path | None
    device: torch.device
    processes: ProcessGroup
    given: Given
    facts: dict[str, Any]
    shown: bool
    fresh: bool = False  # start over: what an earlier run left in the folder goes before the first epoch

    def train(self, parts: RunData) -> Result:
        keep_freed_memory()
        memory.start(self.device)
        config, processes, train = self.config, self.processes, parts.train
        normalize = Normalize.of(train.images) if config.standardize and isinstance(train, Dataset) else Normalize()
        called, shape = self._model(parts, normalize)
        model, loss = uncompiled(called), self.given.loss_module
        if loss is not None:
            loss.to(self.device)
        done = Progress(config.to_dict(), 0, [], 0, normalize.to_dict(), shape, self.facts, self.given.names())
        done.net = description(self.given.model)
        made = None if self.given.optimizer is None else self.given.made_optimizer(model)
        optimizer = build_optimizer(config, model) if made is None else made
        if made is not None and (self.folder is not None or processes.world > 1):
            refuse_foreign(made, model, loss)
        if processes.world > 1 and loss is not None and made is not None:
            refuse_learned_loss(loss, made)
        done.details = self.given.details(made)
        learned = OptimizerState(optimizer)
        base = None if made is None else tuple(float(g["lr"]) for g in made.param_groups)
        average = None
        if config.average_epochs:
            average = WeightAverage(model, first_epoch=config.epochs - config.average_epochs)
            warn_of_running_statistics(model)
        start = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
        done = self._resume(done, model, learned, average)
        check_finite(model, loss, "before training")
        check_thresholds(model)
        if self.folder is not None and loss is not None:
            check_dense("loss", loss.state_dict())
        if self.folder is not None and self.fresh and processes.first:
            run_folder.clear(self.folder)
            run_folder.sweep_leftovers(self.folder, checkpoint.run_id(done), keep=None)
        if processes.first:
            done.sessions.append(
                {**provenance.record(), "first_epoch": done.epoch + 1, "epochs": config.epochs,
                 "processes": processes.world}
            )  # fmt: skip
        method = Method(config, normalize, processes, self.given.loss, base)
        forward = processes.wrap(Forward(called))
        bar = ProgressBar(self.shown and processes.first)
        for epoch in range(done.epoch, config.epochs):
            try:
                with seeded(config.seed, f"dropout of process {processes.rank}", epoch, self.device):
                    metrics, times = train_epoch(
                        forward, optimizer, train, method, epoch=epoch, device=self.device, bar=bar, average=average,
                        kept=None if self.folder is None else learned,
                    )  # fmt: skip
            finally:
                bar.end()
            for module in (model, *(() if loss is None else (loss,))):
                processes.share_buffers(module)
            began = time.perf_counter()
            last = epoch + 1 == config.epochs
            with _applied(average):
                validation = None if parts.validation is None else self._measure(called, parts.validation, method)
                tested = self._measure(called, parts.test, method) if parts.validation is None or last else None
            seconds = time.perf_counter() - began
            entry = Epoch(
                epoch + 1, train=metrics, validation=validation, test=tested, evaluation_seconds=seconds, **times
            )
            bar.end(entry, config.epochs)
            done.epoch = epoch + 1
            done.history.append(entry.to_dict())
            done.averaged = 0 if average is None else average.steps
            done.peak_memory = max(done.peak_memory, memory.peak(self.device))
            if self.given.callbacks:
                rates = [group["lr"] for group in optimizer.param_groups]
                self._call_callbacks(entry, called, done, start, average)
                if rates != [group["lr"] for group in optimizer.param_groups]:
                    warn(
                        "a callback changed the optimizer's learning rate, which has no effect: the schedule sets it in each step"
                    )
                if processes.world > 1:  # made anew, it gives all processes the first one's tensors
                    forward = processes.wrap(Forward(called))
            if self.folder is not None and processes.first:  # with what callbacks changed
                checkpoint.save(self.folder, done, model, learned, average, loss)
        if average is not None:
            average.load()
        called.eval()
        return self._finish(done, model, normalize)

    def _call_callbacks(
        self, entry: Epoch, called: nn.Module, done: Progress, start: dict[str, bool], average: WeightAverage | None
    ) -> None:
        """Call them in the first process, note in `done` what they froze, and freeze it in every process."""
        model = uncompiled(called)
        if self.processes.first:
            before, parameters = settings_of(model), dict(model.named_parameters(remove_duplicate=False))
            with _applied(average), evaluating(called):
                for callback in self.given.callbacks:
                    callback(entry, called)
                if average is not None and not average.holds_mean():
                    raise ValueError(
                        "callbacks must not change the weights in epochs that average_epochs counts: they see the mean of "
                        "the weights, which training does not go on with"
                    )
            for name, parameter in model.named_parameters(remove_duplicate=False):
                if parameters.get(name, parameter) is not parameter:
                    raise ValueError(
                        f"callbacks must change parameters in place, got another tensor as {name}, unknown to the optimizer"
                    )
            self._look_at_settings(before, settings_of(model))
            for name, parameter in model.named_parameters():
                if name in done.requires_grad or parameter.requires_grad != start.get(name):
                    done.requires_grad[name] = parameter.requires_grad
        done.requires_grad = self.processes.from_first(done.requires_grad)
        _freeze(model, done.requires_grad)

    def _look_at_settings(self, before: dict[str, str], after: dict[str, str]) -> None:
        """ValueError, or a warning, for what callbacks changed that is neither the value of a tensor nor requires_grad."""
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        if not changed:
            return
        if self.processes.world > 1:
            raise ValueError(
                f"callbacks must change no more than tensors' values and requires_grad where processes share the batches, "
                f"got another {changed[0]} of the net"
            )
        if self.folder is not None:
            warn(
                f"a callback changed {changed[0]} of the net, which no checkpoint holds: an interrupted run cannot resume so"
            )

    def _model(self, parts: RunData, normalize: Normalize) -> tuple[nn.Module, tuple[int, ...]]:
        """The net on its device, tried on training and test data, and the shape of a sample."""
        sample, classes = run_data.sample(parts.train, normalize, self.device)
        shape = tuple(sample.shape[1:])
        if self.given.model is not None:
            model = self.given.model.to(self.device)
        else:
            model = build_model(self.config, input_shape=shape).to(self.device)
        if self.given.init_from is not None and self.given.first_weights is not None:
            origin = f"init_from = {os.fspath(self.given.init_from)!r}"
            checkpoint.load_state(model, self.given.first_weights, origin)
            if normalize == Normalize() and self.given.first_scaling != Normalize():
                warn(
                    f"the net of {origin} was trained on scaled images, and this run does not scale them; set standardize = true"
                )
        outputs = run_data.check_outputs(model, sample, classes, self.config.spec or type(model).__name__)
        run_data.check_test(parts.test, model, normalize, self.device, outputs)
        return model, shape

    def _resume(
        self, new: Progress, model: nn.Module, learned: OptimizerState, average: WeightAverage | None
    ) -> Progress:
        """The progress of an earlier session, its tensors put into net and optimizer; `new` where there is none."""
        if self.folder is None or self.fresh:
            return new
        found = checkpoint.load_progress(self.folder)
        if found is None:
            if self.processes.first:
                run_folder.sweep_leftovers(self.folder, checkpoint.run_id(new), keep=None)
            return new
        progress, record = found
        same_settings(self.folder, self.config, Config.from_dict(progress.config), self.given, progress.given)
        same_details(self.folder, new.details, progress.details, self.given)
        same_net(self.folder, new.net, progress.net)
        same_data(self.folder, self.facts, progress.data)
        if progress.epoch > self.config.epochs:
            raise another_run(self.folder, f"of {progress.epoch} epochs, more than epochs = {self.config.epochs}")
        raised = progress.config["epochs"] != self.config.epochs  # its last epochs are others
        tensors = checkpoint.load_weights(self.folder, record)
        _freeze(model, progress.requires_grad)
        checkpoint.restore(tensors, record, model, learned, None if raised else average, self.given.loss_module)
        progress.config = new.config  # its epochs may be raised
        progress.data = progress.data or new.data
        progress.details = progress.details or new.details
        if self.processes.first:
            run_folder.sweep_leftovers(self.folder, checkpoint.run_id(new), keep=record["tensors"])
        return progress

    def _measure(self, model: nn.Module, part: Data, method: Method) -> Metrics:
        found = evaluate(model, part, normalize=method.normalize, processes=self.processes)
        if not abs(found.loss) < float("inf"):
            raise Diverged(f"the loss is {found.loss} where the net is measured; try {method.smaller_rate}")
        return found

    def _finish(self, done: Progress, model: nn.Module, normalize: Normalize) -> Result:
        trained = Trained(model, self.config, normalize, done.input_shape, done.epoch, self.facts, done.net)
        result = Result(
            config=self.config,
            history=tuple(Epoch.from_dict(entry) for entry in done.history),
            parameters=sum(p.numel() for p in model.parameters()),
            peak_memory=done.peak_memory,
            sources=(self.facts["train"]["source"], self.facts["test"]["source"]),
            processes=self.processes.world,
            data=self.facts,
            given=done.given,
            details=done.details,
            sessions=tuple(self.processes.from_first(done.sessions)),
            trained=trained,
        )
        if self.folder is not None and self.processes.first:
            (self.folder / run_folder.RESULT).unlink(
                missing_ok=True
            )  # of fewer epochs: it must not stand beside this net
            save_model(self.folder / FILE, trained)
            write_json(self.folder / run_folder.RESULT, result.to_dict())
        return result


def _applied(average: WeightAverage | None) -> contextlib.AbstractContextManager[None]:
    """Within, the net has the mean of its weights, where there is one."""
    return contextlib.nullcontext() if average is None else average.applied()


def _freeze(model: nn.Module, flags: dict[str, bool]) -> None:
    """Freeze and unfreeze parameters by name."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(flags.get(name, parameter.requires_grad))
