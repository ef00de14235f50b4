"""Checkpoints: tensors in safetensors, all else in JSON, never a pickle; a kill at any time leaves the last whole one.

A checkpoint is `checkpoint-<epoch>-<run>.safetensors` and then `checkpoint.json`, which names it with its sha256. The
JSON file is replaced in one step. The tensors of the epoch before stay until the next checkpoint is whole, so a reader
that has the older JSON file still finds them. Random numbers need no place in it: each epoch draws from generators
made of the seed and the epoch's number (`seeds`). Nor does the schedule: it is a function of the step.
"""

from __future__ import annotations

import dataclasses
import json
import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .._base import fields
from .._base.files import JSON_LIMIT, parse_json, read_bytes, sha256, sweep, write_atomic, write_json
from .._base.modules import uncompiled
from .._base.tensors import LIMIT, dumps, loads
from ..data import Normalize
from .averaging import WeightAverage
from .config import Config
from .optimizer_state import OptimizerState
from .result import Epoch

FORMAT = 2
FILE = "checkpoint.json"
_TENSORS = re.compile(r"checkpoint-\d{4,9}(-[0-9a-f]{8})?\.safetensors")
_PATIENCE = 10.0  # seconds in which a reader catches up with a run that is faster than it


class BadCheckpoint(ValueError):
    """A checkpoint that is damaged or of another run.

    Examples:
        >>> import tempfile
        >>> folder, config = tempfile.mkdtemp(), train.Config(data="digits", spec="64-16-10", epochs=1)
        >>> train.fit(config, directory=folder, progress=False).test.images
        360
        >>> train.fit(config.replace(lr=1.0), directory=folder, progress=False)
        Traceback (most recent call last):
            ...
        firstspike.train.checkpoint.BadCheckpoint: ...
    """


@dataclass
class Progress:
    """How far a run is, besides its tensors.

    Attributes:
        config: the run's config, as plain values.
        epoch: finished epochs.
        history: one entry per epoch.
        peak_memory: bytes, the most of all sessions so far.
        normalize: the input's scaling (see `data.Normalize`), as plain values.
        input_shape: channels, height and width of an image, or the number of features.
        data: what the run is trained and tested on, see `run_data.describe`; empty in files of version 0.1.
        given: what was given in Python instead of by the config (net, loss, optimizer), by name.
        sessions: one entry per process that worked on the run: commit, versions, machine, time, its first epoch.
        net: what the net is built of where it was given, see `given.description`.
        averaged: steps in the mean of the weights (`averaging.WeightAverage`).
        details: what tells loss, optimizer and first weights from others, see `given.Given.details`; empty in older files.
        requires_grad: of the parameters that callbacks froze or unfroze, by name.
    """

    config: dict[str, Any]
    epoch: int
    history: list[dict[str, Any]]
    peak_memory: int
    normalize: dict[str, Any]
    input_shape: tuple[int, ...]
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    net: dict[str, Any] | None = None
    averaged: int = 0
    details: dict[str, str] = field(default_factory=dict)
    requires_grad: dict[str, bool] = field(default_factory=dict)


def run_id(progress: Progress) -> str:
    """Eight hexadecimal digits that name the run: the same in all its sessions, hardly ever those of another run."""
    settings = {name: value for name, value in progress.config.items() if name != "epochs"}
    return sha256(json.dumps(settings, sort_keys=True).encode())[:8]


def save(
    directory: Path,
    progress: Progress,
    model: nn.Module,
    optimizer: OptimizerState,
    average: WeightAverage | None = None,
    loss: nn.Module | None = None,
) -> None:
    """Write a checkpoint; the one before it stays until the next one is whole. loss: one that is a module."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if loss is not None:
        tensors |= {f"loss.{name}": value for name, value in loss.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.mean.items()}
    learned, scalars, groups = optimizer.collect()
    tensors |= learned
    run = run_id(progress)
    raw = dumps(tensors, {"format": "firstspike-checkpoint", "run": run})
    name = f"checkpoint-{progress.epoch:04}-{run}.safetensors"
    write_atomic(directory / name, raw)
    record = {
        "program": "firstspike",
        "format": FORMAT,
        "tensors": name,
        "sha256": sha256(raw),
        "optimizer": scalars,
        "groups": groups,
        **vars(progress),
    }
    write_json(directory / FILE, record)
    for path in own_tensors(directory, run):
        if int(path.name.split("-")[1]) < progress.epoch - 1:
            path.unlink(missing_ok=True)


def own_tensors(directory: Path, run: str) -> list[Path]:
    """The tensor files of a run's checkpoints."""
    pattern = re.compile(rf"checkpoint-\d{{4,9}}-{run}\.safetensors")
    return [path for path in directory.iterdir() if pattern.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode)]


def sweep_leftovers(directory: Path, run: str, keep: str | None) -> None:
    """Remove what a kill left: temporary files, and tensors that the JSON file does not name."""
    sweep(directory, FILE)
    for path in own_tensors(directory, run):
        if path.name != keep:
            path.unlink(missing_ok=True)
    for path in list(directory.iterdir()):
        name = re.fullmatch(rf"\.(checkpoint-\d{{4,9}}-{run}\.safetensors)\.[0-9a-f]{{16}}\.partial", path.name)
        if name:
            sweep(directory, name[1])


def load_progress(directory: Path) -> tuple[Progress, dict[str, Any]] | None:
    """What a checkpoint's JSON file says, and the whole of it as plain values; None where there is no checkpoint.

    Raises:
        BadCheckpoint: if it cannot be read.
    """
    path = directory / FILE
    try:
        raw = read_bytes(path, limit=JSON_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{path} cannot be read: {error}") from error
    try:
        return _parse(raw, path)
    except BadCheckpoint:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadCheckpoint(f"{path} is damaged ({what}); resume=False starts over") from error


def _parse(raw: bytes, path: Path) -> tuple[Progress, dict[str, Any]]:
    record = parse_json(raw, FILE)
    if record["format"] not in (1, FORMAT):
        raise BadCheckpoint(
            f"{path} has format {record['format']!r}, this version reads {FORMAT}; resume=False starts over"
        )
    if "pixels" in record:  # the name in files of version 0.1
        record["normalize"] = record.pop("pixels")
    known = {f.name for f in dataclasses.fields(Progress)}
    needed = known - {"data", "given", "sessions", "net", "averaged", "details", "requires_grad"}
    progress = Progress(**{name: record[name] for name in known if name in record or name in needed})
    fields.check_types(progress)
    history = [Epoch.from_dict(entry) for entry in progress.history]
    if [entry.epoch for entry in history] != list(range(1, progress.epoch + 1)):
        raise ValueError(f"the history must have the epochs 1 to {progress.epoch}")
    Config.from_dict(progress.config)
    Normalize.from_dict(progress.normalize)
    if not _TENSORS.fullmatch(record["tensors"]):
        raise ValueError(f"tensors must be the name of a checkpoint's file, got {record['tensors']!r}")
    if not isinstance(record["optimizer"], dict) or not isinstance(record["sha256"], str):
        raise TypeError("optimizer must be a table and sha256 a text")
    groups = record.get("groups", [])
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise TypeError("groups must be a list of tables")
    return progress, record


def load_weights(directory: Path, record: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name ("model....", "average....", "loss....", "optimizer....", "group....").

    Raises:
        BadCheckpoint: if the file is missing or damaged.
    """
    path = directory / record["tensors"]
    try:
        raw = read_bytes(path, limit=LIMIT)
    except OSError as error:
        raise BadCheckpoint(f"{path} is missing or cannot be read; resume=False starts over") from error
    except ValueError as error:
        raise BadCheckpoint(f"{error}; resume=False starts over") from error
    if sha256(raw) != record["sha256"]:
        raise BadCheckpoint(f"{path} is damaged (its sha256 differs); resume=False starts over")
    try:
        return loads(raw, str(path)).tensors
    except ValueError as error:
        raise BadCheckpoint(f"{error}; resume=False starts over") from error


def load_both(directory: Path) -> tuple[Progress, dict[str, Any], dict[str, Tensor]] | None:
    """The checkpoint of a run that may be going on: the JSON file and the tensors that belong together.

    Raises:
        BadCheckpoint: if it is damaged, and not merely replaced in the meantime.
    """
    end = time.monotonic() + _PATIENCE
    found = load_progress(directory)
    while found is not None:
        progress, record = found
        try:
            return progress, record, load_weights(directory, record)
        except BadCheckpoint:
            found = load_progress(directory)
            if found is None or found[1] == record or time.monotonic() > end:
                raise
    return None


def restore(
    tensors: dict[str, Tensor],
    record: dict[str, Any],
    model: nn.Module,
    optimizer: OptimizerState | None,
    average: WeightAverage | None = None,
    loss: nn.Module | None = None,
) -> None:
    """Put a checkpoint's tensors into a net and, if given, its optimizer, the mean of its weights and its loss, in place.

    Memory layouts stay the net's. An older file has no tensors of a loss, which then stays as it is.

    Raises:
        BadCheckpoint: if they do not fit.
    """
    load_state(model, part(tensors, "model"), str(record["tensors"]))
    if loss is not None and (learned := part(tensors, "loss")):
        load_state(loss, learned, str(record["tensors"]), "loss")
    if average is not None:
        try:
            average.restore(int(record.get("averaged", 0)), part(tensors, "average"))
        except ValueError as error:
            raise BadCheckpoint(f"the checkpoint does not fit ({error}); resume=False starts over") from error
    if optimizer is None:
        return
    try:
        optimizer.restore(tensors, record["optimizer"], record.get("groups"))
    except (IndexError, ValueError) as error:
        raise BadCheckpoint(f"the checkpoint's optimizer does not fit ({error}); resume=False starts over") from error


def part(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors of one kind ("model", "average", "loss", "optimizer") by their names without it."""
    return {_bare(name, f"{kind}."): value for name, value in tensors.items() if name.startswith(f"{kind}.")}


def load_state(model: nn.Module, tensors: dict[str, Tensor], origin: str, what: str = "net") -> None:
    """Put weights into a net, in place. Raises BadCheckpoint that names `origin` if names or shapes differ."""
    try:
        uncompiled(model).load_state_dict({_bare(name): value for name, value in tensors.items()})
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise BadCheckpoint(f"the weights in {origin} do not fit the {what}: {text[:500]}") from error


def _bare(name: str, kind: str = "") -> str:
    """A tensor's name without its kind, and without what version 0.1 wrote before those of a compiled net."""
    return name.removeprefix(kind).removeprefix("_orig_mod.")
