"""What an optimizer keeps from step to step, as a checkpoint holds it: tensors by name, all else as JSON can hold it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .._base.checks import shown


class OptimizerState:
    """What training changes in an optimizer: its `state`, and what its `param_groups` hold besides parameters and lr.

    Made of a new optimizer: whatever its groups hold then are settings, with which the optimizer is made again. The
    learning rate is set in every step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._start = [_values(group) for group in optimizer.param_groups]

    def check(self) -> None:
        """Raise TypeError for a part of `state` that a checkpoint cannot hold, naming it."""
        own = set(self._parameters())
        for parameter, values in self.optimizer.state.items():
            if values and parameter not in own:
                raise TypeError(
                    f"optimizer must keep its state by parameter, got state[{shown(parameter)}], which a checkpoint cannot hold"
                )
            for name, value in values.items():
                if not isinstance(name, str):
                    raise TypeError(
                        f"optimizer must name what it keeps by texts, got {shown(name)}, which a checkpoint cannot hold"
                    )
                if not (isinstance(value, Tensor) or _is_plain(value) or _is_table(value)):
                    raise TypeError(
                        f"optimizer must keep tensors, finite numbers, texts, or lists of numbers and texts, in its state, "
                        f"got {shown(value)} as {name!r}, which a checkpoint cannot hold"
                    )

    def collect(self) -> tuple[dict[str, Tensor], dict[str, Any], list[dict[str, Any]]]:
        """Tensors ("optimizer.<parameter>.<name>", "group.<group>.<name>"), other values of `state`, those of each group."""
        tensors: dict[str, Tensor] = {}
        scalars: dict[str, Any] = {}
        for index, parameter in enumerate(self._parameters()):
            for name, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{name}"] = value
                else:
                    scalars[f"{index}.{name}"] = value
        groups: list[dict[str, Any]] = []
        for index, (group, start) in enumerate(zip(self.optimizer.param_groups, self._start, strict=True)):
            changed = {
                name: value
                for name, value in _values(group).items()
                if name not in start or not _equal(value, start[name])
            }
            groups.append({name: value for name, value in changed.items() if not isinstance(value, Tensor)})
            tensors |= {f"group.{index}.{name}": value for name, value in changed.items() if isinstance(value, Tensor)}
        return tensors, scalars, groups

    def restore(self, tensors: dict[str, Tensor], scalars: dict[str, Any], groups: list[dict[str, Any]] | None) -> None:
        """Put what `collect` gave into the optimizer; groups: None in older files.

        Raises IndexError or ValueError where it does not fit.
        """
        parameters, own = self._parameters(), self.optimizer.param_groups
        if groups is not None and len(groups) != len(own):
            raise ValueError(f"it has {len(groups)} groups of parameters, not {len(own)}")
        self.optimizer.state.clear()
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            index, _, key = rest.partition(".")
            if kind == "optimizer":
                parameter = parameters[int(index)]
                self.optimizer.state[parameter][key] = _like(value, parameter)
            elif kind == "group":
                present = own[int(index)].get(key)
                own[int(index)][key] = value.to((present if isinstance(present, Tensor) else parameters[0]).device)
        for name, scalar in scalars.items():
            index, _, key = name.partition(".")
            self.optimizer.state[parameters[int(index)]][key] = scalar
        for group, changed in zip(own, groups or (), strict=False):
            for key, plain in changed.items():
                group[key] = tuple(plain) if isinstance(group.get(key), tuple) else plain

    def _parameters(self) -> list[nn.Parameter]:
        return parameters_of(self.optimizer)


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The parameters of all groups."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _values(group: dict[str, Any]) -> dict[str, Any]:
    """Copies of a group's tensors, and of what JSON can hold, but for its parameters and learning rate."""
    found: dict[str, Any] = {}
    for name, value in group.items():
        if name in ("params", "lr"):
            continue
        if isinstance(value, Tensor):
            found[name] = value.detach().clone()
        elif _is_plain(value):
            found[name] = list(value) if isinstance(value, (tuple, list)) else value
    return found


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold a value: it has no infinity."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and _is_plain(item) for key, item in value.items())


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    return bool(one == other)


def _like(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """A value of its own type, in the memory layout of the parameter where it has the parameter's shape."""
    if value.shape == parameter.shape and value.ndim:
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    return value.to(parameter.device)
