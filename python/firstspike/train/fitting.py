"""A training run: data, net, epochs, checkpoints, result."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from .._base import checks, provenance
from .._base.files import sweep, write_json
from .._base.modules import evaluating, uncompiled
from ..data import Dataset
from ..models import files
from ..nn import Normalize
from . import batches, checkpoint, environment
from .batches import Data, GivenData, Parts
from .build import build_model, build_optimizer
from .checkpoint import Progress
from .config import Config
from .distributed import alone, join, local_device
from .evaluation import check_scores, measure
from .loading import last_weights, load_weights, put_weights
from .loop import Forward, Loss, Method, check_finite, line, train_epoch
from .penalty import Penalty
from .result import Epoch, Metrics, Result, RunInfo

Callback = Callable[[Epoch, nn.Module], object]
_REPLACED = {  # the config's fields that have no effect where an argument is given
    "model": ("spec", "model", "steps", "timing", *Config.net_fields()),
    "loss": ("label_smoothing",),
    "optimizer": ("optimizer", "lr", "weight_decay"),
}


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
    tag: str = "",
    resume: bool = True,
    progress: bool = True,
) -> Result:
    """Train a net, measure it in every epoch, and keep a checkpoint of every epoch.

    A run that is killed and called again resumes after its last finished epoch, with the number of threads that it had, and ends
    with the same bits as one that was not interrupted. For that, give DataLoader, net, loss and optimizer as they were at the
    start. They must draw from torch's generators only and keep all that training changes in a `state_dict`. Called again after
    its end, `fit` only reads the result and the net. With a larger `config.epochs`, it continues with the learning rates of the
    longer schedule; a mean of the weights (`config.average_epochs`) then has only steps of the added epochs. Under torchrun the
    processes share each batch; they need one file system, and with the device "cuda" each takes the GPU of its LOCAL_RANK. `fit`
    makes the process keep memory that it frees from then on.

    Parameters
    ----------
    config : the run.
    directory : the run's folder, for `checkpoint.safetensors`, `model.safetensors` and `result.json`; None writes nothing.
        A run is identified by config, data (of a DataLoader, the class of its data set and its numbers of samples and
        batches) and tag; a folder that holds another run is refused.
    datasets : training and test data, instead of `config.data`: each a `data.Dataset`, a pair of arrays or tensors
        (`data.from_arrays`), or a DataLoader of (input, label).
    images : a folder of images (`data.load_images`), instead of `config.data`.
    root, download : see `data.load`.
    model : a net to train instead of `config.spec`, in training mode as a whole; it is changed, and left in eval mode.
        The config's settings of the net (`spec`, `model`, `steps` to `dropout`) must be left at their defaults, or be the
        net's. `load_model` needs nets with custom code again.
    loss : from scores [B, classes], float32, and labels [B] to the mean loss or one loss per sample, instead of the
        cross-entropy. The tensors of one that is a module are in the checkpoints; it is brought to the device.
    optimizer : makes the optimizer of a net, instead of `config.optimizer`, such as
        `lambda net: torch.optim.Adam(net.parameters())`; the schedule scales its learning rates.
    init_from : a run or a file of `firstspike.save`, whose weights the net starts with; it must be of the same shape.
    callbacks : called after each epoch, in the first process, with the `Epoch` and the net in evaluation mode, before the
        checkpoint is written. They observe: what they change outside the net's state_dict is not restored on resume.
    tag : tells runs apart that differ in what is given in Python (net, loss, optimizer, first weights).
    resume : False starts over: an earlier run in the directory is removed before the first epoch.
    progress : show progress on stderr.

    Raises
    ------
    BadCheckpoint : (a ValueError) if the directory holds another run, or a damaged checkpoint.
    Diverged : (an ArithmeticError) if the loss or a weight is not finite.

    Examples
    --------
    >>> result = fit(Config(data="digits", spec="64-32-10", epochs=1), progress=False)
    >>> result.test.images, result.model.spec
    (360, '64-32-10')
    """
    checks.instance("config", config, Config, "a train.Config")
    _check_replaced(config, {"model": model, "loss": loss, "optimizer": optimizer})
    device = _present(local_device(config.device))
    folder = None if directory is None else checks.path("directory", directory)
    with environment.threads(config.threads), join(device) as processes, alone(folder, processes):
        pair = batches.load(config, processes, datasets, images, root=root, download=download)
        parts = batches.split(config, pair, device)
        data = processes.from_first({"train": batches.facts(pair[0]), "test": batches.facts(pair[1])})
        mine = RunInfo(config=config, data=data, tag=tag)
        if processes.sum(torch.tensor([float(processes.from_first(mine.id) != mine.id)], device=device)):
            raise ValueError("every process of torchrun must be given the same run")
        net, spare = _net(config, parts, model, device)
        if spare > 0 and progress and processes.first:
            tqdm.write(f"note: {spare} of the net's outputs have no class in the data", file=sys.stderr)
        if folder is not None and resume and (finished := _finished(folder, mine)) is not None:
            put_weights(net, last_weights(folder, config.epochs), str(folder))
            return finished.with_model(net.eval())
        if init_from is not None:
            put_weights(net, load_weights(init_from), f"init_from = {os.fspath(init_from)!r}")
        trained = nn.ModuleDict({"model": uncompiled(net)})
        if isinstance(loss, nn.Module):
            trained["loss"] = uncompiled(loss).to(device)
        stepper, base = _optimizer(config, optimizer, trained)
        penalty = Penalty(config, net) if config.spike_penalty or config.spike_target else None
        if penalty is not None:
            trained["penalty"] = penalty.to(device)
        method = Method(config, processes, loss, base, penalty, shown=progress and processes.first)
        return _Run(mine, net, parts, method, folder, trained, stepper).train(callbacks, resume)


def _present(device: torch.device) -> torch.device:
    """The device; ValueError where this machine has none that holds numbers."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # by the kind of device
        raise ValueError(f"device must be one that this machine has, got '{device}': {str(error).splitlines()[0]}") from None
    return device


def _check_replaced(config: Config, given: dict[str, Any]) -> None:
    """Raise ValueError for a field of the config that another argument decides, unless it says the same."""
    if not config.spec and given["model"] is None:
        raise ValueError("spec must be given, or a net (model=), got neither")
    plain, net = Config(), uncompiled(given["model"])
    same = {"steps": getattr(net, "steps", None), **(getattr(net, "_config", None) or {})}
    for argument, names in _REPLACED.items():
        for name in names if given[argument] is not None else ():
            value = getattr(config, name)
            if value not in (getattr(plain, name), same.get(name)):
                raise ValueError(
                    f"{name} must be left at its default where {argument}= is given, which decides it, got {value!r}"
                )


def _net(config: Config, parts: Parts, model: nn.Module | None, device: torch.device) -> tuple[nn.Module, int]:
    """The net on its device, scaled if the config says so, tried on one sample; its outputs beyond the classes."""
    sample = batches.first_sample(parts.train, device)
    net = build_model(config, input_shape=tuple(sample.shape[1:])) if model is None else model
    if config.standardize and isinstance(parts.train, Dataset):
        if not hasattr(uncompiled(net), "normalize"):
            raise ValueError("standardize needs a TTFSNet; begin another net with nn.Normalize.of(images)")
        in_unit_range = getattr(getattr(uncompiled(net), "encoder", None), "unit_range", False)
        scaling = Normalize.to_unit if in_unit_range else Normalize.of
        uncompiled(net).normalize = scaling(parts.train.images)
    net.to(device)
    with evaluating(net), torch.no_grad():
        outputs = check_scores(net(sample), 1).shape[1]
    classes = max((part.classes for part in (parts.train, parts.test) if isinstance(part, Dataset)), default=outputs)
    if classes > outputs:
        raise ValueError(f"the net must have an output for each of {classes} classes, got {outputs}")
    return net, outputs - classes


def _optimizer(
    config: Config, make: Callable[[nn.Module], torch.optim.Optimizer] | None, trained: nn.ModuleDict
) -> tuple[torch.optim.Optimizer, tuple[float, ...] | None]:
    """The config's optimizer, or the one that `make` makes and its learning rates, which the schedule scales."""
    if make is None:
        return build_optimizer(config, trained["model"]), None
    optimizer = make(trained["model"])
    checks.instance("optimizer", optimizer, torch.optim.Optimizer, "a function that returns a torch.optim.Optimizer")
    known = set(trained.parameters())
    if any(parameter not in known for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError("optimizer must have parameters of the net that it is given, or of a loss that is a module")
    return optimizer, tuple(float(group["lr"]) for group in optimizer.param_groups)


def _finished(folder: Path, mine: RunInfo) -> Result | None:
    """The result in a folder if it is of this run and complete; BadCheckpoint if it is of another run."""
    result = checkpoint.read_result(folder)
    if result is None:
        return None
    checkpoint.check_same(folder, mine, result.run)
    return result if result.config.epochs == mine.config.epochs else None


@dataclass(frozen=True)
class _Run:
    """A run between its start and its result."""

    info: RunInfo
    net: nn.Module  # perhaps compiled
    parts: Parts
    method: Method
    folder: Path | None
    trained: nn.ModuleDict  # what checkpoints hold: "model", and "loss", "penalty" and "average" if any
    optimizer: torch.optim.Optimizer

    def train(self, callbacks: Sequence[Callback], resume: bool) -> Result:
        environment.keep_freed_memory()
        config, processes, model = self.info.config, self.method.processes, self.trained["model"]
        environment.start_peak(processes.device)
        progress = self._begin(resume)
        threads = torch.get_num_threads()
        if progress.run.epoch and self.method.shown:
            done = f"resumed at epoch {progress.run.epoch + 1} of {config.epochs}"
            tqdm.write(f"{done}, with {checks.counted(threads, 'thread')}", file=sys.stderr)
        session = {"first_epoch": progress.run.epoch + 1, "epochs": config.epochs, "processes": processes.world}
        session = processes.from_first({**provenance.record(), **session, "threads": threads})
        progress = progress.replace(sessions=(*progress.sessions, session))
        check_finite(self.trained, "before training")
        forward = processes.wrap(Forward(self.net))
        for epoch in range(progress.run.epoch, config.epochs):
            average = self._average(epoch)
            with environment.seeded(config.seed, f"dropout of process {processes.rank}", epoch, processes.device):
                metrics, times = train_epoch(
                    forward, self.optimizer, self.parts.train, self.method, epoch,
                    after_step=None if average is None else partial(average.update_parameters, model),
                )  # fmt: skip
            processes.share_buffers(self.trained)
            check_finite(self.trained, f"after epoch {epoch + 1}")
            measured = self.net if average is None else average.module
            entry = self._entry(epoch + 1, measured, metrics, times)
            if self.method.shown:
                tqdm.write(line(entry, config.epochs), file=sys.stderr)
            progress = progress.replace(
                run=self.info.replace(epoch=epoch + 1),
                history=(*progress.history, entry),
                peak_memory=max(progress.peak_memory, environment.peak(processes.device)),
            )
            if processes.first:
                with evaluating(measured):
                    for callback in callbacks:
                        callback(entry, measured)
                if self.folder is not None:
                    checkpoint.save(self.folder, progress, self.trained, self.optimizer)
        if config.average_epochs:
            model.load_state_dict(cast(AveragedModel, self.trained["average"]).module.state_dict())
        return self._finish(progress)

    def _average(self, epoch: int) -> AveragedModel | None:
        """The mean of the weights, from the first of the epochs that count.

        Sources: Polyak and Juditsky, SIAM J. Control Optim. 30 (1992); as a tail of training, Izmailov et al., UAI 2018.
        """
        if epoch < self.info.config.epochs - self.info.config.average_epochs:
            return None
        if "average" not in self.trained:
            self.trained["average"] = AveragedModel(self.trained["model"])
        return cast(AveragedModel, self.trained["average"])

    def _begin(self, resume: bool) -> Progress:
        """The progress of an earlier session, its tensors put into net and optimizer; a new one if there is none."""
        earlier = None if self.folder is None or not resume else checkpoint.load(self.folder)
        self.method.processes.wait()  # until all have read
        if self.folder is not None and self.method.processes.first:
            sweep(self.folder) if resume else checkpoint.clear(self.folder)
        if earlier is None:
            return Progress(run=self.info, net=_description(self.net))
        checkpoint.check_same(earlier.path.parent, self.info, earlier.progress.run)
        epoch = earlier.progress.run.epoch
        if earlier.progress.run.config.epochs != self.info.config.epochs:
            earlier = earlier.without("average")  # of other epochs
        elif epoch:
            self._average(epoch - 1)
        earlier.restore(self.trained, self.optimizer)
        threads = earlier.progress.sessions[-1].get("threads") if epoch else None
        if threads and not self.info.config.threads:  # torch's products may have other bits with another number
            torch.set_num_threads(threads)
        return earlier.progress.replace(run=self.info.replace(epoch=epoch))

    def _entry(self, epoch: int, measured: nn.Module, metrics: Metrics, times: dict[str, float]) -> Epoch:
        """Measure the net after an epoch."""
        began = time.perf_counter()
        held_out, test = self.parts.validation, self.parts.test

        def on(part: Data | None) -> Metrics | None:
            return None if part is None else measure(measured, part, self.method.processes)

        validation = on(held_out)
        tested = on(test if held_out is None or epoch == self.info.config.epochs else None)
        took = time.perf_counter() - began
        return Epoch(epoch=epoch, train=metrics, validation=validation, test=tested, evaluation_seconds=took, **times)

    def _finish(self, progress: Progress) -> Result:
        self.net.eval()
        result = Result(
            config=self.info.config,
            data=self.info.data,
            tag=self.info.tag,
            history=progress.history,
            parameters=sum(parameter.numel() for parameter in self.net.parameters()),
            peak_memory=progress.peak_memory,
            processes=self.method.processes.world,
            sessions=progress.sessions,
        ).with_model(self.net)
        if self.folder is not None and self.method.processes.first:
            (self.folder / checkpoint.RESULT).unlink(missing_ok=True)  # of fewer epochs: it must not stay with this net
            save = files.save_weights if progress.net is None else files.save
            save(self.net, self.folder / files.FILE, progress.run.to_dict())
            write_json(self.folder / checkpoint.RESULT, result.to_dict())
        return result


def _description(net: nn.Module) -> dict[str, Any] | None:
    try:
        return files.describe(uncompiled(net))
    except TypeError:
        return None
