"""The folder of a run: a checkpoint of tensors and JSON in one file, never a pickle; the net and the result at its end.

`checkpoint.safetensors` is replaced in one step, so a kill at any time leaves the last whole one. Random numbers and schedule
are functions of seed, epoch and step, and need no place in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .._base import tensors
from .._base.files import parse_json, read_json, sweep, write_atomic
from .._base.records import Record
from ..models import files
from .result import Epoch, Result, RunInfo

FILE, RESULT = "checkpoint.safetensors", "result.json"
FORMAT = "firstspike-checkpoint 1"


class BadCheckpoint(ValueError):
    """A checkpoint that is damaged or of another run.

    Examples
    --------
    >>> config = train.Config(data="digits", spec="64-16-10", epochs=1)
    >>> train.fit(config, directory="run", progress=False).test.images
    360
    >>> train.fit(config.replace(lr=1.0), directory="run", progress=False)
    Traceback (most recent call last):
        ...
    firstspike.train.checkpoint.BadCheckpoint: ...
    """


class Progress(Record):
    """How far a run is. net: what `models.files.describe` says of the net; None for a net with custom code."""

    run: RunInfo
    history: tuple[Epoch, ...] = ()
    peak_memory: int = 0
    sessions: tuple[dict[str, Any], ...] = ()
    net: dict[str, Any] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What `load` reads: tensors by name ("model.", "loss.", "average.", "optimizer."), progress, the optimizer's rest."""

    path: Path
    progress: Progress
    tensors: dict[str, Tensor]
    optimizer: Any

    def without(self, name: str) -> Checkpoint:
        """The same without the tensors of one part."""
        return replace(self, tensors={key: x for key, x in self.tensors.items() if not key.startswith(f"{name}.")})

    def net_weights(self) -> dict[str, Tensor]:
        """The tensors of the net as it is measured: the mean of the weights, if they are averaged."""
        averaged = any(key.startswith("average.module.") for key in self.tensors)
        part = "average.module." if averaged else "model."
        return {key.removeprefix(part): x for key, x in self.tensors.items() if key.startswith(part)}

    def restore(self, parts: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the tensors into a module of the parts that were saved, and into the optimizer; BadCheckpoint if they differ."""
        try:
            parts.load_state_dict({name: x for name, x in self.tensors.items() if not name.startswith("optimizer.")})
            _restore(optimizer, _joined(self.optimizer, self.tensors))
        except (RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            text = " ".join(str(error).split())[:500]
            raise BadCheckpoint(f"{self.path} does not fit the run ({text}); resume=False (--no-resume) starts over") from error


def save(folder: Path, progress: Progress, parts: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint in place of the one before. parts: a module with the parts "model", and "loss" and "average" if any."""
    rest, state = _split(optimizer.state_dict())
    state |= parts.state_dict()
    facts = {"format": FORMAT, "progress": json.dumps(progress.to_dict()), "optimizer": rest}
    write_atomic(folder / FILE, tensors.dumps(state, {**facts, "sha256": _digest(state, facts)}))


def load(folder: Path) -> Checkpoint | None:
    """Read the checkpoint in a folder; None if there is none. Raises BadCheckpoint if it is damaged."""
    path = folder / FILE
    try:
        file = tensors.read(path)
        if file.metadata.get("format") != FORMAT:
            raise ValueError(f"{path} is not a checkpoint of this version")
        facts = {name: value for name, value in file.metadata.items() if name != "sha256"}
        if file.metadata.get("sha256") != _digest(file.tensors, facts):
            raise ValueError(f"{path} is damaged (its sha256 differs)")
        progress = Progress.from_dict(parse_json(facts["progress"], str(path)), str(path))
        return Checkpoint(path, progress, file.tensors, parse_json(facts["optimizer"], str(path)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, KeyError, ValueError) as error:
        raise BadCheckpoint(f"{error}; resume=False (--no-resume) starts over") from error


def read_result(folder: Path) -> Result | None:
    """The result of a finished run, None if there is none. Raises BadCheckpoint if the file is damaged."""
    try:
        return Result.from_dict(read_json(folder / RESULT), str(folder / RESULT))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{error}; resume=False (--no-resume) starts over") from error


def check_same(folder: Path, mine: RunInfo, kept: RunInfo) -> None:
    """Raise BadCheckpoint if the run in a folder is another one, or has more epochs."""
    changes = mine.differences(kept) if mine.id != kept.id else []
    if kept.epoch > mine.config.epochs:
        changes.append(f"epochs: {mine.config.epochs}, not the {kept.epoch} that are done")
    if changes:
        lines = "\n  ".join(changes)
        raise BadCheckpoint(
            f"{folder} holds another run:\n  {lines}\nTake another one, or start over (resume=False, --no-resume)."
        )


def clear(folder: Path) -> None:
    """Remove the files of a run, and what a kill left of them."""
    for name in (RESULT, files.FILE, FILE):
        (folder / name).unlink(missing_ok=True)
    sweep(folder)


def _digest(state: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    """The sha256 of names, types, shapes and bytes of tensors, and of texts."""
    digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode())
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _split(state: dict[str, Any]) -> tuple[str, dict[str, Tensor]]:
    """A state_dict as a text, with its tensors by name."""
    leaves, structure = pytree.tree_flatten(state)
    tensors = {f"optimizer.{place}": leaf for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
    rest = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    return json.dumps([pytree.treespec_dumps(structure), rest]), tensors


def _joined(text: list[Any], tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `_split`."""
    structure, rest = text
    leaves = [tensors.get(f"optimizer.{place}", leaf) for place, leaf in enumerate(rest)]
    return pytree.tree_unflatten(leaves, pytree.treespec_loads(structure))


def _restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state_dict; each tensor of a parameter's shape keeps its type, and gets the parameter's memory layout.

    `load_state_dict` alone casts to the parameter's type, and leaves layouts that a fused optimizer takes for equal.
    """
    optimizer.load_state_dict(state)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, values in state["state"].items():
        parameter = parameters[index]
        for name, value in values.items():
            if not isinstance(value, Tensor):
                optimizer.state[parameter][name] = value
            elif value.ndim and value.shape == parameter.shape:
                like = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
                optimizer.state[parameter][name] = like.copy_(value)
