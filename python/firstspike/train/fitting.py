"""A whole training run: data, net, epochs, checkpoints, result."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import _checks, _provenance
from .._files import write_json
from .._own_code import uncompiled
from ..data import Dataset, Normalize
from . import checkpoint, memory, run_data, run_folder
from .allocator import keep_freed_memory
from .averaging import WeightAverage
from .batches import Data, GivenData
from .build import build_model, build_optimizer
from .checkpoint import Progress
from .config import Config
from .distributed import ProcessGroup, alone, join, own_device
from .evaluation import evaluate
from .given import Callback, Given, another_run, description, same_data, same_net, same_settings
from .loop import Diverged, Forward, Loss, Method, check_finite, train_epoch
from .metrics import Metrics
from .model_file import FILE, load_model, load_weights, save_model
from .optimizer_state import OptimizerState
from .progress import ProgressBar
from .result import Epoch, Result
from .run_data import RunData
from .seeds import seeded
from .trained import Trained


def fit(
    config: Config,
    *,
    directory: str | os.PathLike[str] | None = None,
    datasets: tuple[GivenData, GivenData] | None = None,
    images: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool | None = None,
    model: nn.Module | None = None,
    loss: Loss | None = None,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
    init_from: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    resume: bool = True,
    progress: bool = True,
) -> Result:
    """Train a net, measure it in every epoch, and keep a checkpoint of every epoch.

    A run that is killed at any time and called again resumes after its last finished epoch, and ends with the same bits
    as one that was not interrupted (with a DataLoader: if its data set and workers draw from torch's generators only; with an
    optimizer of one's own: if it keeps what it learns in `state` and, as numbers, texts or tensors, in `param_groups`).
    Called again after the run has ended, it only reads the result and the net; with a larger `config.epochs`, it continues
    from the last epoch, with the learning rates of the longer schedule; a mean of the weights (`config.average_epochs`)
    then has only steps of the added epochs. Under torchrun the processes share each batch; they need one file system, and with
    the device "cuda" each takes the GPU of its LOCAL_RANK. `fit` makes the process keep memory that it frees from then on
    (`firstspike.train.allocator.keep_freed_memory`).

    Args:
        config: the run.
        directory: the run's folder, for checkpoint, `model.safetensors` and `result.json`; new, empty, or this run's.
            None writes nothing.
        datasets: training and test data, instead of `config.data`: each a `data.Dataset`, a pair of arrays or tensors
            (`data.from_arrays`), or a DataLoader of (input, label).
        images: a folder of images (`data.load_images`), instead of `config.data`.
        root, download: where `config.data` is looked for, and whether it may be fetched, see `data.load`.
        model: a net to train instead of the one that `config.spec` describes; it is changed, and left in eval mode.
            The config's settings of the net (`steps` to `dropout`) then have no effect. `load_model` rebuilds a net of
            firstspike's layers alone; one with code of its own must be given to it.
        loss: from scores [B, classes] and labels [B] to the mean loss or one loss per sample, instead of the
            cross-entropy.
        optimizer: makes the optimizer of a net, instead of `config.optimizer`, such as
            `lambda net: torch.optim.Adam(net.parameters())`; the schedule scales its learning rates.
        init_from: a run, a model file or a file of `firstspike.save`, whose weights the net starts with; it must be of the
            same shape.
        callbacks: called after each epoch, in the first process, with the `Epoch` and the net.
        resume: False starts over, and removes what the directory holds of an earlier run.
        progress: whether to show progress on stderr.

    Raises:
        NotAvailable: if the data cannot be had.
        BadCheckpoint: (a ValueError) if the directory holds another run's checkpoint, or a damaged one.
        Diverged: (an ArithmeticError) if the loss or a weight is not finite.
        ValueError, TypeError: for settings that do not fit each other or the data, and a directory that is not a run's.
        OSError: if the directory cannot be written.

    Examples:
        >>> result = fit(Config(data="digits", spec="64-32-10", epochs=1), progress=False)
        >>> result.test.images, result.trained.model.spec
        (360, '64-32-10')
    """
    _checks.instance("config", config, Config, "a train.Config")
    _checks.boolean("resume", resume)
    _checks.boolean("progress", progress)
    device = own_device(config.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one that this machine has, got {config.device!r} without CUDA")
    if not config.spec and model is None:
        raise ValueError("spec must be given, or a net (model=)")
    if config.spec and model is not None:
        raise ValueError(f"spec must be '' where a net is given (model=), got {config.spec!r}")
    folder = None if directory is None else _checks.path("directory", directory)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ValueError(f"directory must name a folder, {folder} is a file")
    given = Given(model, loss, optimizer, callbacks, init_from)
    with _threads(config.threads), join(device) as processes, alone(folder, processes):
        if folder is not None and processes.first:
            run_folder.claim(folder)
            if not resume:
                run_folder.clear(folder)
        processes.wait()
        finished = None if folder is None else run_folder.read_result(folder)
        if finished is not None:
            same_settings(folder, config, finished.config, given, finished.given)
            if folder is not None and model is not None and (kept := checkpoint.load_progress(folder)) is not None:
                same_net(folder, description(model), kept[0].net)
            named = datasets is None and images is None and run_data.by_name(finished.data, config)
            if named and finished.config.epochs == config.epochs:
                return _with_net(finished, folder, given, device)
        pair = run_data.load(config, processes, datasets=datasets, images=images, root=root, download=download)
        facts = processes.from_first(run_data.describe(pair) if processes.first else {})
        if finished is not None:
            same_data(folder, facts, finished.data)
            if finished.config.epochs == config.epochs:
                return _with_net(finished, folder, given, device)
        run = _Run(config, folder, device, processes, given, facts, progress)
        return run.train(run_data.parts(config, pair, device))


@dataclass(frozen=True)
class _Run:
    """A run between its start and its result."""

    config: Config
    folder: Path | None
    device: torch.device
    processes: ProcessGroup
    given: Given
    facts: dict[str, Any]
    shown: bool

    def train(self, parts: RunData) -> Result:
        keep_freed_memory()
        memory.start(self.device)
        config, processes, train = self.config, self.processes, parts.train
        normalize = Normalize.of(train.images) if config.standardize and isinstance(train, Dataset) else Normalize()
        called, shape = self._model(train, normalize)
        model = uncompiled(called)
        done = Progress(config.to_dict(), 0, [], 0, normalize.to_dict(), shape, self.facts, self.given.names())
        done.net = description(self.given.model)
        optimizer = build_optimizer(config, model) if self.given.optimizer is None else self.given.made_optimizer(model)
        learned = OptimizerState(optimizer)
        base = None if self.given.optimizer is None else tuple(float(g["lr"]) for g in optimizer.param_groups)
        average = None
        if config.average_epochs:
            average = WeightAverage(model, first_epoch=config.epochs - config.average_epochs)
        measured = contextlib.nullcontext if average is None else average.applied
        done = self._resume(done, model, learned, average)
        check_finite(model, "before training")
        if processes.first:
            done.sessions.append(
                {**_provenance.record(), "first_epoch": done.epoch + 1, "epochs": config.epochs,
                 "processes": processes.world}
            )  # fmt: skip
        method = Method(config, normalize, processes, self.given.loss, base)
        forward = processes.wrap(Forward(called))
        bar = ProgressBar(self.shown and processes.first)
        for epoch in range(done.epoch, config.epochs):
            try:
                with seeded(config.seed, f"dropout of process {processes.rank}", epoch, self.device):
                    metrics, times = train_epoch(
                        forward, optimizer, train, method, epoch=epoch, device=self.device, bar=bar, average=average
                    )
            finally:
                bar.end()
            began = time.perf_counter()
            last = epoch + 1 == config.epochs
            with measured():
                validation = None if parts.validation is None else self._measure(called, parts.validation, normalize)
                tested = self._measure(called, parts.test, normalize) if parts.validation is None or last else None
            seconds = time.perf_counter() - began
            entry = Epoch(
                epoch + 1, train=metrics, validation=validation, test=tested, evaluation_seconds=seconds, **times
            )
            bar.end(entry, config.epochs)
            done.epoch = epoch + 1
            done.history.append(entry.to_dict())
            done.averaged = 0 if average is None else average.steps
            done.peak_memory = max(done.peak_memory, memory.peak(self.device))
            if processes.first:
                if self.folder is not None:
                    checkpoint.save(self.folder, done, model, learned, average)
                with measured():
                    for callback in self.given.callbacks:
                        callback(entry, called)
        if average is not None:
            average.load()
        called.eval()
        return self._finish(done, model, normalize)

    def _model(self, train: Data, normalize: Normalize) -> tuple[nn.Module, tuple[int, ...]]:
        """The net on its device, tried on one sample, and the shape of a sample."""
        sample, classes = run_data.sample(train, normalize, self.device)
        shape = tuple(sample.shape[1:])
        if self.given.model is not None:
            model = self.given.model.to(self.device)
        else:
            model = build_model(self.config, input_shape=shape).to(self.device)
        if self.given.init_from is not None:
            origin = f"init_from = {os.fspath(self.given.init_from)!r}"
            checkpoint.load_state(model, load_weights("init_from", self.given.init_from), origin)
        run_data.check_outputs(model, sample, classes, self.config.spec or type(model).__name__)
        return model, shape

    def _resume(
        self, new: Progress, model: nn.Module, learned: OptimizerState, average: WeightAverage | None
    ) -> Progress:
        """The progress of an earlier session, its tensors put into net and optimizer; `new` where there is none."""
        found = None if self.folder is None else checkpoint.load_progress(self.folder)
        if self.folder is None:
            return new
        if found is None:
            if self.processes.first:
                run_folder.sweep_leftovers(self.folder, checkpoint.run_id(new), keep=None)
            return new
        progress, record = found
        same_settings(self.folder, self.config, Config.from_dict(progress.config), self.given, progress.given)
        same_net(self.folder, new.net, progress.net)
        same_data(self.folder, self.facts, progress.data)
        if progress.epoch > self.config.epochs:
            raise another_run(self.folder, f"of {progress.epoch} epochs, more than epochs = {self.config.epochs}")
        raised = progress.config["epochs"] != self.config.epochs  # its last epochs are others
        tensors = checkpoint.load_weights(self.folder, record)
        checkpoint.restore(tensors, record, model, learned, None if raised else average)
        progress.config = new.config  # its epochs may be raised
        progress.data = progress.data or new.data
        if self.processes.first:
            run_folder.sweep_leftovers(self.folder, checkpoint.run_id(new), keep=record["tensors"])
        return progress

    def _measure(self, model: nn.Module, part: Data, normalize: Normalize) -> Metrics:
        found = evaluate(model, part, normalize=normalize, processes=self.processes)
        if not abs(found.loss) < float("inf"):
            raise Diverged(
                f"the loss is {found.loss} where the net is measured; try a smaller lr than {self.config.lr}"
            )
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
            sessions=tuple(self.processes.from_first(done.sessions)),
            trained=trained,
        )
        if self.folder is not None and self.processes.first:
            save_model(self.folder / FILE, trained)
            write_json(self.folder / run_folder.RESULT, result.to_dict())
        return result


def _with_net(finished: Result, folder: Path | None, given: Given, device: torch.device) -> Result:
    """The result of an earlier session with its net; a net that is given gets the weights."""
    assert folder is not None
    trained = load_model(folder, model=None if given.model is None else uncompiled(given.model))
    (trained.model if given.model is None else given.model).to(device).eval()
    return dataclasses.replace(finished, trained=trained)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
