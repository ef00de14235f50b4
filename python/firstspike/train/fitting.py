"""A whole training run: data, net, epochs, checkpoints, result."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from .. import data
from .._lock import locked
from ..data import Dataset, Normalize
from . import checkpoint, memory
from .allocator import keep_freed_memory
from .build import build_model, build_optimizer
from .checkpoint import BadCheckpoint, Progress
from .config import Config
from .distributed import ProcessGroup, join
from .evaluation import evaluate
from .loop import Forward, train_epoch
from .model_file import FILE, Trained, save_model
from .progress import ProgressBar
from .result import Epoch, Result
from .seeds import seeded

RESULT = "result.json"


def fit(
    config: Config,
    *,
    directory: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    datasets: tuple[Dataset, Dataset] | None = None,
    resume: bool = True,
    progress: bool = True,
    download: bool | None = None,
) -> Result:
    """Train a net, measure it in every epoch, and keep a checkpoint of every epoch.

    Killed at any time and called again, it goes on after the last finished epoch and ends with the same bits as a run
    that was not interrupted; called after the end it only reads the result. Under torchrun the processes share each
    batch; they need one file system. From then on the process keeps memory that it frees
    (`firstspike.train.allocator.keep_freed_memory`).

    Args:
        config: the run.
        directory: where checkpoint, `model.safetensors` and `result.json` go; None writes nothing.
        root: folder of the data, see `data.load`.
        datasets: training and test set, instead of loading `config.data`.
        resume: False starts over, and removes what the directory holds of an earlier run.
        progress: whether to show progress on stderr.
        download: whether data may be fetched, see `data.load`.

    Raises:
        NotAvailable: if the data cannot be had.
        BadCheckpoint: (a ValueError) if the directory holds another run's checkpoint, or a damaged one.
        Diverged: (an ArithmeticError) if the loss is not finite.
        ValueError, TypeError: for settings that do not fit each other or the data.
    """
    device = torch.device(config.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one that this machine has, got {config.device!r} without CUDA")
    folder = None if directory is None else Path(directory)
    with _threads(config.threads), join(device) as processes, _alone(folder, processes):
        if folder is not None and processes.first and not resume:
            _clear(folder)
        processes.wait()
        finished = _finished(folder, config)
        if finished is not None:
            return finished
        return _run(config, folder, _load(config, root, datasets, processes, download), device, processes, progress)


def _run(
    config: Config,
    folder: Path | None,
    datasets: tuple[Dataset, Dataset],
    device: torch.device,
    processes: ProcessGroup,
    shown: bool,
) -> Result:
    keep_freed_memory()
    memory.start(device)
    sources = (datasets[0].source, datasets[1].source)
    train, held_out, test = (part and _to(part, device) for part in _parts(config, datasets))
    assert train is not None and test is not None
    normalize = Normalize.of(train.images) if config.standardize else Normalize()
    model = build_model(config, input_shape=train.input_shape).to(device)
    optimizer = build_optimizer(config, model)
    done = _resume(folder, config, model, optimizer) or Progress(
        config.to_dict(), 0, [], 0, normalize.to_dict(), train.input_shape
    )
    forward = processes.wrap(Forward(model))
    bar = ProgressBar(shown and processes.first)
    for epoch in range(done.epoch, config.epochs):
        try:
            with seeded(config.seed, f"dropout of process {processes.rank}", epoch, device):
                metrics, times = train_epoch(
                    forward,
                    optimizer,
                    train,
                    config=config,
                    epoch=epoch,
                    normalize=normalize,
                    processes=processes,
                    bar=bar,
                )
        finally:
            bar.end()
        began = time.perf_counter()
        last = epoch + 1 == config.epochs
        validation = None if held_out is None else evaluate(model, held_out, normalize=normalize, processes=processes)
        tested = evaluate(model, test, normalize=normalize, processes=processes) if held_out is None or last else None
        seconds = time.perf_counter() - began
        entry = Epoch(epoch + 1, train=metrics, validation=validation, test=tested, evaluation_seconds=seconds, **times)
        bar.end(entry, config.epochs)
        done.epoch = epoch + 1
        done.history.append(entry.to_dict())
        done.peak_memory = max(done.peak_memory, memory.peak(device))
        if folder is not None and processes.first:
            checkpoint.save(folder, done, model, optimizer)
    history = tuple(Epoch.from_dict(entry) for entry in done.history)
    parameters = sum(p.numel() for p in model.parameters())
    result = Result(config, history, parameters, done.peak_memory, sources, processes.world)
    if folder is not None and processes.first:
        save_model(folder / FILE, Trained(model, config, normalize, train.input_shape, done.epoch))
        checkpoint.write_json(folder / RESULT, result.to_dict())
    return result


def _load(
    config: Config,
    root: str | os.PathLike[str] | None,
    datasets: tuple[Dataset, Dataset] | None,
    processes: ProcessGroup,
    download: bool | None,
) -> tuple[Dataset, Dataset]:
    if datasets is not None:
        return datasets
    if not processes.first:
        processes.wait()  # the first process fetches, the others then find the cache filled
    try:
        return (
            data.load(config.data, root=root, train=True, download=download),
            data.load(config.data, root=root, train=False, download=download),
        )
    finally:
        if processes.first:
            processes.wait()


def _parts(config: Config, datasets: tuple[Dataset, Dataset]) -> tuple[Dataset, Dataset | None, Dataset]:
    """Training images, those held out for validation (the same for every seed), test images."""
    train, test = datasets
    if config.limit > len(train):
        raise ValueError(f"limit must be at most the {len(train)} training images, got {config.limit}")
    if config.limit:
        train = train.subset(slice(0, config.limit))
    if not config.validation:
        return train, None, test
    train, held_out = data.split(train, validation=config.validation)
    return train, held_out, test


def _to(dataset: Dataset, device: torch.device) -> Dataset:
    return replace(dataset, images=dataset.images.to(device), labels=dataset.labels.to(device))


def _resume(
    folder: Path | None, config: Config, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Progress | None:
    found = None if folder is None else checkpoint.load_progress(folder)
    if folder is None or found is None:
        return None
    progress, record = found
    _same(folder, config, Config.from_dict(progress.config))
    checkpoint.restore(checkpoint.load_weights(folder, record), record, model, optimizer)
    return progress


def _same(folder: Path, config: Config, kept: Config) -> None:
    differences = config.differences(kept)
    if differences:
        raise BadCheckpoint(
            f"{folder} holds a run with other settings ({'; '.join(differences)}); "
            "take another directory, or resume=False to start over"
        )


def _finished(folder: Path | None, config: Config) -> Result | None:
    if folder is None or not (folder / RESULT).is_file():
        return None
    result = Result.from_dict(json.loads((folder / RESULT).read_text(encoding="utf-8")))
    _same(folder, config, result.config)
    return result


def _clear(folder: Path) -> None:
    for name in (RESULT, FILE):
        (folder / name).unlink(missing_ok=True)
    checkpoint.clear(folder)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _alone(folder: Path | None, processes: ProcessGroup) -> Iterator[None]:
    """Hold the directory's lock: a second run in it waits, and then finds the first one's result."""
    if folder is None or not processes.first:
        yield
        return
    with locked(folder):
        yield
