"""A whole training run: data, net, epochs, checkpoints, result."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from .._base import checks
from .._base.modules import uncompiled
from . import checkpoint, run_data, run_folder
from .batches import GivenData
from .config import Config
from .distributed import ProcessGroup, alone, join, own_device
from .given import Callback, Given, description, same_data, same_details, same_net, same_settings
from .loop import Loss
from .model_file import load_model
from .result import Result
from .running import Run


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
    optimizer of one's own: if it keeps what it learns in `state` and, as numbers, texts or tensors, in `param_groups`; with a
    loss that is a module: what it learns is in its `state_dict`; with a net or a loss of one's own: if it is given as it was at
    the start, and keeps nothing that training changes outside its `state_dict`, such as a counter or a buffer with
    persistent=False).
    Called again after the run has ended, it only reads the result and the net; with a larger `config.epochs`, it continues
    from the last epoch, with the learning rates of the longer schedule; a mean of the weights (`config.average_epochs`)
    then has only steps of the added epochs. Under torchrun the processes share each batch; they need one file system, and with
    the device "cuda" each takes the GPU of its LOCAL_RANK. `fit` makes the process keep memory that it frees from then on
    (`firstspike.train.allocator.keep_freed_memory`).

    Args:
        config: the run.
        directory: the run's folder, for checkpoint, `model.safetensors` and `result.json`; new, empty, or this run's.
            None writes nothing. A folder is this run's if config, data, net and `init_from` are the same, and so are loss and
            optimizer as far as they are classes, numbers, texts and tensors: code, such as that of a lambda, is not compared,
            and of a DataLoader only the kind of its data set and the numbers of samples and batches.
        datasets: training and test data, instead of `config.data`: each a `data.Dataset`, a pair of arrays or tensors
            (`data.from_arrays`), or a DataLoader of (input, label).
        images: a folder of images (`data.load_images`), instead of `config.data`.
        root, download: where `config.data` is looked for, and whether it may be fetched, see `data.load`.
        model: a net to train instead of the one that `config.spec` describes; it is changed, and left in eval mode.
            The config's settings of the net (`spec`, `model`, `steps` to `dropout`) must be left at their defaults. Each
            epoch trains it in training mode as a whole, also parts that are frozen and were in eval mode. `load_model`
            rebuilds a net of firstspike's layers alone; one with code of its own must be given to it.
        loss: from scores [B, classes], float32, and labels [B] to the mean loss or one loss per sample, instead of the
            cross-entropy. The tensors of one that is a module are in the checkpoints; it is brought to the device.
        optimizer: makes the optimizer of a net, instead of `config.optimizer`, such as
            `lambda net: torch.optim.Adam(net.parameters())`; the schedule scales its learning rates.
        init_from: a run, a model file or a file of `firstspike.save`, whose weights the net starts with; it must be of the
            same shape.
        callbacks: called after each epoch, in the first process, with the `Epoch` and the net in evaluation mode, before the
            checkpoint is written; an epoch that is interrupted in a callback is trained again. What they change in the values
            of tensors, and which parameters they freeze or unfreeze, holds after a resume and in the other processes of
            torchrun. Other settings do not: changing them is warned of, or refused under torchrun.
        resume: False starts over: what the directory holds of an earlier run is removed when the first epoch begins.
        progress: whether to show progress on stderr.

    Raises:
        NotAvailable: if the data cannot be had.
        BadCheckpoint: (a ValueError) if the directory holds another run's checkpoint, or a damaged one.
        Diverged: (an ArithmeticError) if the loss or a weight is not finite.
        ValueError, TypeError: for settings that do not fit each other or the data, settings of `config` that `model`, `loss`
            or `optimizer` decide (they must be left at their defaults), and a directory that is not a run's.
        OSError: if the directory cannot be written.

    Examples:
        >>> result = fit(Config(data="digits", spec="64-32-10", epochs=1), progress=False)
        >>> result.test.images, result.trained.model.spec
        (360, '64-32-10')
    """
    checks.instance("config", config, Config, "a train.Config")
    checks.boolean("resume", resume)
    checks.boolean("progress", progress)
    device = own_device(config.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one that this machine has, got {config.device!r} without CUDA")
    if not config.spec and model is None:
        raise ValueError("spec must be given, or a net (model=)")
    if config.spec and model is not None:
        raise ValueError(f"spec must be '' where a net is given (model=), got {config.spec!r}")
    folder = None if directory is None else checks.path("directory", directory)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ValueError(f"directory must name a folder, {folder} is a file")
    given = Given(model, loss, optimizer, callbacks, init_from)
    given.check_config(config)
    with _threads(config.threads), join(device) as processes, alone(folder, processes):
        _same_in_all(processes, config, folder, resume)
        if folder is not None and processes.first:
            run_folder.claim(folder)
        processes.wait()
        finished = None if folder is None or not resume else run_folder.read_result(folder)
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
        run = Run(config, folder, device, processes, given, facts, progress, fresh=not resume)
        return run.train(run_data.parts(config, pair, device))


def _same_in_all(processes: ProcessGroup, config: Config, folder: Path | None, resume: bool) -> None:
    """Raise ValueError in a process of torchrun that was given another run than the first one."""
    mine = {**config.to_dict(), "directory": str(folder), "resume": resume}
    first = processes.from_first(mine)
    different = [f"{name} = {mine[name]!r}, not {first[name]!r}" for name in mine if mine[name] != first[name]]
    if different:
        raise ValueError(
            f"every process of torchrun must be given the same run, process {processes.rank} got {different[0]}"
        )


def _with_net(finished: Result, folder: Path | None, given: Given, device: torch.device) -> Result:
    """The result of an earlier session with its net; a net that is given gets the weights."""
    assert folder is not None
    mine = None if given.model is None else uncompiled(given.model)
    if finished.details:
        net = load_model(folder).model if mine is None else mine
        made = None if given.optimizer is None else given.made_optimizer(net)
        same_details(folder, given.details(made), finished.details, given)
    trained = load_model(folder, model=mine)
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
