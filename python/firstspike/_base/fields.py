"""Checks of dataclass fields that come from a file or a user: type, range, choice, spelling."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any

from .checks import one_of

_OTHER_NAMES = {  # how other libraries name settings of ours
    "learning_rate": "lr",
    "batch_size": "batch",
    "dataset": "data",
    "t": "steps",
    "timesteps": "steps",
    "num_steps": "steps",
    "beta": "decay",
    "max_epochs": "epochs",
}


def check_types(instance: Any, prefix: str = "") -> None:
    """Raise TypeError for a field whose value is not of its annotated type, ValueError for NaN and infinity.

    Ints are turned into floats where a float is due, lists into tuples where a tuple is due, and numbers of NumPy into
    Python's. Known are int, float, str, bool, None, Any, list, tuple, dict, Mapping, dataclasses, and unions of them.
    """
    hints = typing.get_type_hints(type(instance))
    for field in dataclasses.fields(instance):
        value, hint = getattr(instance, field.name), hints[field.name]
        name = f"{prefix}{field.name}"
        converted = _conform(name, value, hint)
        if converted is not value:
            object.__setattr__(instance, field.name, converted)


def _conform(name: str, value: Any, hint: Any) -> Any:
    """The value, converted where that loses nothing."""
    if hint is Any:
        return value
    value = own_number(value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(value) in arguments and not isinstance(value, float):
            return value
        for option in arguments:
            try:
                return _conform(name, value, option)
            except TypeError:
                continue
        raise _wrong(name, value, arguments)
    if hint is float and type(value) is int and abs(value) < 2**1023:
        value = float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        each = origin is list or (len(arguments) == 2 and arguments[1] is Ellipsis)
        if not each and len(value) != len(arguments):
            raise TypeError(f"{name} must have {len(arguments)} elements, got {len(value)}")
        kinds = [arguments[0]] * len(value) if each else arguments
        return origin(_conform(f"{name}[{i}]", v, kind) for i, (v, kind) in enumerate(zip(value, kinds, strict=True)))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _wrong(f"a name in {name}", key, (str,))
        return {key: _conform(f"{name}.{key}", item, arguments[1]) for key, item in value.items()}
    plain: type = origin or hint
    if isinstance(value, plain) and (type(value) is plain or dataclasses.is_dataclass(plain)):
        return value
    raise _wrong(name, value, (hint,))


def own_number(value: Any) -> Any:
    """A number of NumPy or another package as a Python int or float; a bool, and what is no real number, unchanged."""
    if type(value) in (int, float, bool) or not isinstance(value, numbers.Real):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _wrong(name: str, value: Any, allowed: Collection[Any]) -> TypeError:
    names = " or ".join("none" if t is type(None) else getattr(t, "__name__", str(t)) for t in allowed)
    text = repr(value)
    return TypeError(
        f"{name} must be {names}, got {text if len(text) <= 80 else text[:77] + '...'} of type {type(value).__name__}"
    )


def within(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise ValueError for a value outside [low, high]."""
    if not low <= value <= high:
        wanted = f"at least {low}" if math.isinf(high) else f"in {low}..{high}"
        raise ValueError(f"{name} must be {wanted}, got {value}")


def choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise ValueError for a value that is none of the allowed ones; None is written "none", as in TOML."""
    one_of(name, "none" if value is None else value, ["none" if item is None else item for item in allowed])


def refuse_unknown(
    values: Mapping[str, Any], known: Collection[str], prefix: str = "", *, missing: str = "there is no setting"
) -> None:
    """Raise ValueError for a name that no field has, with the nearest one; missing: how the message begins."""
    for name in values:
        if name not in known:
            ours = _OTHER_NAMES.get(str(name).lower())
            near = [ours] if ours in known else difflib.get_close_matches(str(name), list(known), n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"{missing} {prefix}{name}; {hint}")


def refuse_absent(values: Collection[str], kind: type, prefix: str = "") -> None:
    """Raise ValueError for the first field of a dataclass that has no default and is not among the names in `values`."""
    for field in dataclasses.fields(kind):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in values:
            raise ValueError(f"{prefix}{field.name} must be given")
