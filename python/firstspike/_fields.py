"""Checks of dataclass fields that come from a file: type, range, choice, spelling."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import typing
from collections.abc import Collection, Mapping
from typing import Any


def check_types(instance: Any, prefix: str = "") -> None:
    """Raise TypeError for a field whose value is not of its annotated type; ints are turned into floats where due."""
    hints = typing.get_type_hints(type(instance))
    for field in dataclasses.fields(instance):
        value, hint = getattr(instance, field.name), hints[field.name]
        allowed = typing.get_args(hint) or (hint,)
        if type(value) is int and int not in allowed and float in allowed:
            value = float(value)
            object.__setattr__(instance, field.name, value)
        if type(value) not in allowed:
            names = " or ".join("none" if t is type(None) else t.__name__ for t in allowed)
            raise TypeError(f"{prefix}{field.name} must be {names}, got {value!r} of type {type(value).__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{prefix}{field.name} must be finite, got {value}")


def within(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise ValueError for a value outside [low, high]."""
    if not low <= value <= high:
        wanted = f"at least {low}" if math.isinf(high) else f"in {low}..{high}"
        raise ValueError(f"{name} must be {wanted}, got {value}")


def choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise ValueError for a value that is none of the allowed ones."""
    if value not in allowed:
        names = ", ".join("none" if item is None else str(item) for item in allowed)
        raise ValueError(f"{name} must be one of {names}, got {value!r}")


def refuse_unknown(values: Mapping[str, Any], known: Collection[str], prefix: str = "") -> None:
    """Raise ValueError for a name that no field has, with the nearest one."""
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"there is no setting {prefix}{name}; {hint}")


def toml(value: Any) -> str:
    """A value in TOML's notation; None as the text "none"."""
    if value is None:
        return '"none"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)  # strings, ints and booleans look alike in both
