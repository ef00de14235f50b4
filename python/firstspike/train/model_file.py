"""A trained net in one file: weights in safetensors, config and input scaling in its metadata."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save as save_tensors
from torch import nn

from .._files import write_atomic
from ..data import Normalize
from . import checkpoint
from .build import build_model
from .config import Config

FILE = "model.safetensors"


@dataclass(frozen=True)
class Trained:
    """A net with what is needed to use it.

    Attributes:
        model: maps float32 [B, C, H, W] to scores [B, classes].
        config: the run's config.
        normalize: maps uint8 images [B, C, H, W] to the net's input.
        input_shape: channels, height and width of an image.
        epoch: how many epochs it was trained for.
    """

    model: nn.Module
    config: Config
    normalize: Normalize
    input_shape: tuple[int, int, int]
    epoch: int


def save_model(path: str | os.PathLike[str], trained: Trained) -> None:
    """Write a net to one safetensors file, in one step."""
    metadata = {
        "format": "firstspike",
        "config": json.dumps(trained.config.to_dict()),
        "normalize": json.dumps(trained.normalize.to_dict()),
        "input_shape": json.dumps(trained.input_shape),
        "epoch": str(trained.epoch),
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in trained.model.state_dict().items()}
    write_atomic(Path(path), save_tensors(weights, metadata))


def load_model(path: str | os.PathLike[str]) -> Trained:
    """Read a net from a file of `save_model`, or from a run's directory, finished or not; on the CPU, in eval mode.

    Raises:
        ValueError: if there is neither, or the file is none of ours.
    """
    path = Path(path)
    if path.is_dir() and not (path / FILE).is_file():
        return _from_checkpoint(path)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"path must be a run's folder or a model file, got {str(path)!r}")
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata() or {}
        if metadata.get("format") != "firstspike":
            raise ValueError(f"{file} is no model of firstspike: its metadata has no format 'firstspike'")
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no dict
    config = Config.from_dict(json.loads(metadata["config"]))
    channels, height, width = json.loads(metadata["input_shape"])
    model = build_model(config, input_shape=(channels, height, width))
    model.load_state_dict(weights)
    normalize = Normalize.from_dict(
        json.loads(metadata.get("normalize") or metadata["pixels"])
    )  # "pixels": version 0.1
    return Trained(model.eval(), config, normalize, (channels, height, width), int(metadata["epoch"]))


def _from_checkpoint(directory: Path) -> Trained:
    found = checkpoint.load_progress(directory)
    if found is None:
        raise ValueError(f"path must be a run's folder or a model file; {str(directory)!r} has no checkpoint")
    progress, record = found
    config = Config.from_dict(progress.config)
    channels, height, width = progress.input_shape
    model = build_model(config, input_shape=(channels, height, width))
    checkpoint.restore(checkpoint.load_weights(directory, record), record, model, None)
    return Trained(
        model.eval(), config, Normalize.from_dict(progress.normalize), (channels, height, width), progress.epoch
    )
