"""What is given to `fit` in Python instead of by the config, and whether it is what a run began with."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from .._base import checks
from .._base.modules import uncompiled
from ..data import Normalize
from ..models.files import describe
from . import run_data
from .checkpoint import BadCheckpoint
from .config import Config
from .identity import fingerprint, optimizer_fingerprint, tensors_fingerprint
from .loop import Loss
from .model_file import load_weights
from .optimizer_state import parameters_of
from .result import Epoch

Callback = Callable[[Epoch, nn.Module], object]
_NET = tuple(field.name for field in dataclasses.fields(Config))
_REPLACED = {  # the config's fields that have no effect where an argument is given
    "model": ("model", *_NET[_NET.index("steps") : _NET.index("dropout") + 1]),
    "loss": ("label_smoothing",),
    "optimizer": ("optimizer", "lr", "weight_decay"),
}
_COMPILED = "torch._dynamo.eval_frame.OptimizedModule"  # how older records name any net that is compiled


@dataclass(frozen=True)
class Given:
    """What is given in Python instead of by the config."""

    model: nn.Module | None
    loss: Loss | None
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None
    callbacks: Sequence[Callback]
    init_from: str | os.PathLike[str] | None

    def __post_init__(self) -> None:
        checks.optional("model", self.model, nn.Module, "a torch.nn.Module")
        for name in ("loss", "optimizer"):
            if getattr(self, name) is not None:
                checks.function(name, getattr(self, name))
        keywords = self.loss.keywords if isinstance(self.loss, functools.partial) else {}
        if "sum" in (getattr(self.loss, "reduction", "mean"), keywords.get("reduction")):
            raise ValueError("loss must be the mean over a batch or one value per sample, got one with reduction='sum'")
        if self.init_from is not None:
            checks.path("init_from", self.init_from)
        if isinstance(self.callbacks, (str, torch.Tensor)) or not isinstance(self.callbacks, Sequence):
            raise TypeError(f"callbacks must be a sequence of functions, got {checks.shown(self.callbacks)}")
        for number, callback in enumerate(self.callbacks):
            checks.function(f"callbacks[{number}]", callback)

    def check_config(self, config: Config) -> None:
        """Raise ValueError for a field of the config that has another value than its default, and no effect."""
        plain = Config()
        for argument, names in _REPLACED.items():
            for name in names if getattr(self, argument) is not None else ():
                default, value = getattr(plain, name), getattr(config, name)
                if value != default:
                    raise ValueError(
                        f"{name} must be left at {default!r} where {argument}= is given, which decides it, got {value!r}"
                    )

    def made_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """What `optimizer` makes of a net; TypeError where it is no optimizer, ValueError where it cannot train the net."""
        assert self.optimizer is not None
        made = self.optimizer(model)
        checks.instance("optimizer", made, torch.optim.Optimizer, "a function that returns a torch.optim.Optimizer")
        if isinstance(made, torch.optim.LBFGS):
            raise ValueError("optimizer must need one gradient per step, got LBFGS, which asks for several")
        own = set(model.parameters())
        if own and own.isdisjoint(parameters_of(made)):
            raise ValueError(
                "optimizer must have parameters of the net that it is given, got those of another one alone"
            )
        return made

    def names(self) -> dict[str, str]:
        """How the records name them."""
        named = {"model": type(uncompiled(self.model)) if self.model is not None else None}
        named |= {"loss": self.loss, "optimizer": self.optimizer}  # type: ignore[dict-item]
        return {
            key: f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
            for key, value in named.items()
            if value is not None
        }

    def details(self, made: torch.optim.Optimizer | None) -> dict[str, str]:
        """What tells loss, optimizer, first weights and a net from others of the same names; `made`: what `optimizer` made."""
        found = {"init_from": "none" if self.first_weights is None else tensors_fingerprint(self.first_weights)}
        if made is not None:
            found |= optimizer_fingerprint(made)
        if self.loss is not None:
            learned = [] if made is None else parameters_of(made)
            found["loss"] = fingerprint(self.loss, learned)
        if self.model is not None and description(self.model) is None:
            found |= _own_layers(uncompiled(self.model))
        return found

    @functools.cached_property
    def _first(self) -> tuple[dict[str, Tensor], Normalize] | None:
        return None if self.init_from is None else load_weights("init_from", self.init_from)

    @property
    def first_weights(self) -> dict[str, Tensor] | None:
        """The tensors of the file `init_from`, read once."""
        return None if self._first is None else self._first[0]

    @property
    def first_scaling(self) -> Normalize:
        """What the run of `init_from` did with its images."""
        return Normalize() if self._first is None else self._first[1]

    @property
    def loss_module(self) -> nn.Module | None:
        """The loss where it is a module, whose tensors are a part of the run."""
        return uncompiled(self.loss) if isinstance(self.loss, nn.Module) else None


def description(model: nn.Module | None) -> dict[str, Any] | None:
    """What a given net is built of, as JSON holds it: the arguments of `models.build`, or what `firstspike.save` keeps.

    None where no net is given, and for a net with code of its own.
    """
    if model is None:
        return None
    model = uncompiled(model)
    try:
        found = describe(model)
    except TypeError:
        return None
    plain: dict[str, Any] | None = json.loads(json.dumps(found))
    return plain


def _own_layers(model: nn.Module) -> dict[str, str]:
    """What the modules of ours and of torch in a net with code of its own are built of, as far as they can be described.

    A lazy module is left out: it is of another class once it has seen data.
    """
    names = [name for name, _ in model.named_modules()]
    found = {"net.modules": fingerprint(names)}
    for name, module in model.named_modules():
        if type(module).__module__.startswith("firstspike.nn."):
            with contextlib.suppress(TypeError):
                found[f"net.{name}"] = fingerprint(json.dumps(describe(module), sort_keys=True))
        elif type(module).__module__.startswith("torch.nn.modules.") and not isinstance(module, LazyModuleMixin):
            found[f"net.{name}"] = fingerprint(f"{type(module).__name__}({module.extra_repr()})")
    return found


def refuse_learned_loss(loss: nn.Module, made: torch.optim.Optimizer) -> None:
    """Raise ValueError for a loss that the optimizer trains: processes exchange the gradients of the net alone."""
    if not set(loss.parameters()).isdisjoint(parameters_of(made)):
        raise ValueError("loss must have no parameters that are trained where processes share the batches, got some")


def refuse_foreign(made: torch.optim.Optimizer, model: nn.Module, loss: nn.Module | None) -> None:
    """Raise ValueError for parameters of neither net nor loss: no checkpoint has them, and processes do not share them."""
    own = {*model.parameters(), *(() if loss is None else loss.parameters())}
    if not own.issuperset(parameters_of(made)):
        raise ValueError(
            "optimizer must have parameters of the net, or of a loss that is a module, got one of neither, which a "
            "checkpoint would not hold"
        )


def another_run(folder: Path | None, which: str) -> BadCheckpoint:
    """The error for a folder that holds another run than the one to continue. which: how that run differs, for the message."""
    return BadCheckpoint(f"{folder} holds a run {which}; take another directory, or resume=False to start over")


def same_settings(folder: Path | None, config: Config, kept: Config, given: Given, names: dict[str, str]) -> None:
    """Raise BadCheckpoint if a run in the folder has other settings; its epochs may be fewer."""
    mine = given.names()
    found = [
        line for line in config.differences(kept) if not (line.startswith("epochs:") and config.epochs > kept.epochs)
    ]
    found += [
        f"{key}: {mine.get(key, 'none')}, not {names.get(key, 'none')}"
        for key in ("model", "loss", "optimizer")
        if mine.get(key) != names.get(key) and names.get(key) != _COMPILED
    ]
    if found:
        raise another_run(folder, f"with other settings ({'; '.join(found)})")


def same_details(folder: Path | None, mine: dict[str, str], kept: dict[str, str], given: Given) -> None:
    """Raise BadCheckpoint if a run in the folder has another loss, optimizer or first weights, as far as both records tell."""
    other = [key for key in mine if key in kept and mine[key] != kept[key]]
    found = [f"{key}: {mine[key]}, not {kept[key]}" for key in other]
    if "loss" in other and given.loss_module is not None and any(True for _ in given.loss_module.buffers()):
        found.append("a loss whose buffers change in training has to be made anew for each call")
    if found:
        raise another_run(folder, f"with other settings ({'; '.join(found)})")


def same_net(folder: Path | None, mine: dict[str, Any] | None, kept: dict[str, Any] | None) -> None:
    """Raise BadCheckpoint if a run in the folder has another net, as far as the two are described."""
    found = "" if mine is None or kept is None else _difference(mine, kept, "net")
    if found:
        raise another_run(folder, f"of another net ({found})")


def _difference(mine: Any, kept: Any, place: str) -> str:
    """The first place where two JSON values differ, with both values; "" where they are equal."""
    if isinstance(mine, dict) and isinstance(kept, dict):
        parts = [(str(key), mine.get(key), kept.get(key)) for key in sorted(mine.keys() | kept.keys())]
    elif isinstance(mine, list) and isinstance(kept, list) and len(mine) == len(kept):
        parts = [(str(number), *pair) for number, pair in enumerate(zip(mine, kept, strict=True))]
    else:
        return "" if mine == kept else f"{place}: {mine!s:.60}, not {kept!s:.60}"
    return next((text for name, a, b in parts if (text := _difference(a, b, f"{place}.{name}"))), "")


def same_data(folder: Path | None, mine: dict[str, Any], kept: dict[str, Any]) -> None:
    """Raise BadCheckpoint if a run in the folder has other data."""
    found = run_data.differences(mine, kept)
    if found:
        raise another_run(folder, f"on other data ({'; '.join(found)})")
