"""Checkpoints: tensors in safetensors, all else in JSON, never a pickle; a kill at any time leaves the last whole one.

A checkpoint is `checkpoint-<epoch>.safetensors` and then `checkpoint.json`, which names it with its sha256. The JSON
file is replaced in one step, and only then is the older safetensors file removed. Random numbers need no place in it:
each epoch draws from generators made of the seed and the epoch's number (`seeds`). Nor does the schedule: it is a
function of the step.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from .._files import sha256, write_atomic

FORMAT = 1
_JSON = "checkpoint.json"


class BadCheckpoint(ValueError):
    """A checkpoint that is damaged or of another run."""


@dataclass
class Progress:
    """How far a run is, besides its tensors.

    Attributes:
        config: the run's config, as plain values.
        epoch: finished epochs.
        history: one entry an epoch.
        peak_memory: bytes, the most of all sessions so far.
        normalize: the input's scaling (see `data.Normalize`), as plain values.
        input_shape: channels, height and width of an image.
    """

    config: dict[str, Any]
    epoch: int
    history: list[dict[str, Any]]
    peak_memory: int
    normalize: dict[str, Any]
    input_shape: tuple[int, int, int]


def save(directory: Path, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint; the one before it is there until this one is whole."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    scalars: dict[str, Any] = {}
    for index, parameter in enumerate(parameters):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                scalars[f"{index}.{name}"] = value
    raw = save_tensors({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    name = f"checkpoint-{progress.epoch:04}.safetensors"
    write_atomic(directory / name, raw)
    record = {
        "format": FORMAT,
        "tensors": name,
        "sha256": sha256(raw),
        "optimizer": scalars,
        **vars(progress),
    }
    write_json(directory / _JSON, record)
    _sweep(directory, keep=name)


def load_progress(directory: Path) -> tuple[Progress, dict[str, Any]] | None:
    """What a checkpoint's JSON file says, and the whole of it as plain values; None where there is no checkpoint.

    Raises:
        BadCheckpoint: if it cannot be read.
    """
    path = directory / _JSON
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise BadCheckpoint(f"{path} has format {record['format']}, this version reads {FORMAT}")
        if "pixels" in record:  # the name in files of version 0.1
            record["normalize"] = record.pop("pixels")
        fields = Progress.__dataclass_fields__
        return Progress(**{name: record[name] for name in fields}), record
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadCheckpoint(f"{path} is damaged ({error}); resume=False starts over") from error


def load_weights(directory: Path, record: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name ("model....", "optimizer....").

    Raises:
        BadCheckpoint: if the file is missing or damaged.
    """
    path = directory / record["tensors"]
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadCheckpoint(f"{path} is missing; resume=False starts over") from error
    if sha256(raw) != record["sha256"]:
        raise BadCheckpoint(f"{path} is damaged (its sha256 differs); resume=False starts over")
    return load_tensors(raw)


def restore(
    tensors: dict[str, Tensor], record: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer | None
) -> None:
    """Put a checkpoint's tensors into a net and, if given, its optimizer, in place (memory layouts stay the net's)."""
    model.load_state_dict(
        {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    )
    if optimizer is None:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    optimizer.state.clear()
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, key = rest.partition(".")
            parameter = parameters[int(index)]
            if value.shape == parameter.shape and value.ndim:
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            else:
                value = value.to(parameter.device)
            optimizer.state[parameter][key] = value
    for name, scalar in record["optimizer"].items():
        index, _, key = name.partition(".")
        optimizer.state[parameters[int(index)]][key] = scalar


def clear(directory: Path) -> None:
    """Remove a run's checkpoint, so that it starts over."""
    with contextlib.suppress(FileNotFoundError):
        (directory / _JSON).unlink()
    _sweep(directory, keep=None)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one step; NaN and infinity are refused."""
    write_atomic(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def _sweep(directory: Path, keep: str | None) -> None:
    """Remove the tensors of older checkpoints, and what a kill in the middle of writing left."""
    for pattern in ("checkpoint-*.safetensors", ".checkpoint*"):
        for path in directory.glob(pattern):
            if path.name != keep:
                path.unlink(missing_ok=True)
