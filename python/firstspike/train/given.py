"""What is given to `fit` in Python instead of by the config, and whether it is what a run began with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import _checks
from . import run_data
from .checkpoint import BadCheckpoint
from .config import Config
from .loop import Loss
from .result import Epoch

Callback = Callable[[Epoch, nn.Module], object]


@dataclass(frozen=True)
class Given:
    """What is given in Python instead of by the config."""

    model: nn.Module | None
    loss: Loss | None
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None
    callbacks: Sequence[Callback]
    init_from: str | os.PathLike[str] | None

    def __post_init__(self) -> None:
        _checks.optional("model", self.model, nn.Module, "a torch.nn.Module")
        for name in ("loss", "optimizer"):
            if getattr(self, name) is not None:
                _checks.function(name, getattr(self, name))
        if self.init_from is not None:
            _checks.path("init_from", self.init_from)
        if isinstance(self.callbacks, (str, torch.Tensor)) or not isinstance(self.callbacks, Sequence):
            raise TypeError(f"callbacks must be a sequence of functions, got {_checks.shown(self.callbacks)}")
        for number, callback in enumerate(self.callbacks):
            _checks.function(f"callbacks[{number}]", callback)

    def made_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """What `optimizer` makes of a net; TypeError where it is no optimizer."""
        assert self.optimizer is not None
        made = self.optimizer(model)
        _checks.instance("optimizer", made, torch.optim.Optimizer, "a function that returns a torch.optim.Optimizer")
        return made

    def names(self) -> dict[str, str]:
        """How the records name them."""
        named = {"model": type(self.model) if self.model is not None else None}
        named |= {"loss": self.loss, "optimizer": self.optimizer}  # type: ignore[dict-item]
        return {
            key: f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
            for key, value in named.items()
            if value is not None
        }


def description(model: nn.Module | None) -> dict[str, Any] | None:
    """What `models.from_config` needs to make a given net again; None where the net cannot say."""
    config = getattr(model, "config", None)
    found = config() if callable(config) else None
    return found if isinstance(found, dict) and "spec" in found else None


def same_settings(folder: Path | None, config: Config, kept: Config, given: Given, names: dict[str, str]) -> None:
    """Raise BadCheckpoint if a run in the folder has other settings; its epochs may be fewer."""
    mine = given.names()
    found = [
        line for line in config.differences(kept) if not (line.startswith("epochs:") and config.epochs > kept.epochs)
    ]
    found += [
        f"{key}: {mine.get(key, 'none')}, not {names.get(key, 'none')}"
        for key in ("model", "loss", "optimizer")
        if mine.get(key) != names.get(key)
    ]
    if found:
        raise BadCheckpoint(
            f"{folder} holds a run with other settings ({'; '.join(found)}); "
            "take another directory, or resume=False to start over"
        )


def same_data(folder: Path | None, mine: dict[str, Any], kept: dict[str, Any]) -> None:
    """Raise BadCheckpoint if a run in the folder has other data."""
    found = run_data.differences(mine, kept)
    if found:
        raise BadCheckpoint(
            f"{folder} holds a run on other data ({'; '.join(found)}); "
            "take another directory, or resume=False to start over"
        )
