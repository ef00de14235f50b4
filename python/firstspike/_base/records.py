"""The base of configs, profiles, tables and results: pydantic models whose errors are one line that names the field."""

from __future__ import annotations

import difflib
import os
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Self

import numpy as np
import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from .files import read_bytes

_TOML_LIMIT = 1 << 20  # bytes


class FieldError(ValueError):
    """A field of a record is unknown, missing or wrong; the message begins with its name."""


class Record(BaseModel):
    """Named values that are checked when they are set: no unknown names, no text for a number, no NaN or infinity.

    Ints become floats and lists become tuples where these are due, and numbers of NumPy become Python's. The text "none"
    stands for None in a field that may be None, as TOML has no null. A check in a subclass raises ValueError; one of
    several fields (`model_validator`) begins its message with the name of one, as in "warmup: must be at most epochs".
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)

    def __init__(self, **values: Any) -> None:
        known = type(self).model_fields
        for name in values:
            if name not in known:
                raise FieldError(f"{name}: is not a field of {type(self).__name__}; {_advice(name, list(known))}")
        try:
            super().__init__(**{name: _plain(value, known[name].annotation) for name, value in values.items()})
        except ValidationError as error:
            raise FieldError(_one_line(error)) from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], origin: str = "") -> Self:
        """Make a record from plain values, as JSON or TOML holds them; ValueError names the origin and the field."""
        start = f"{origin}: " if origin else ""
        if not isinstance(values, Mapping):
            raise FieldError(f"{start}a {cls.__name__} must be a table of names and values, got {type(values).__name__}")
        try:
            return cls(**values)
        except FieldError as error:
            raise FieldError(f"{start}{error}") from None

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON can hold them; `from_dict` takes them back."""
        return self.model_dump(mode="json")

    def to_toml(self) -> str:
        """All fields as the text of a TOML file, None as "none"."""
        return tomli_w.dumps(_without_null(self.to_dict()))

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked anew."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


def _plain(value: Any, annotation: Any) -> Any:
    """The value as a field takes it: None for "none" where the field may be None, and plain numbers and tuples."""
    if isinstance(value, str) and value == "none" and NoneType in typing.get_args(annotation):
        return None
    return _python(value)


def _python(value: Any) -> Any:
    """The value with numbers of Python for those of NumPy, and tuples for lists."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (list, tuple):
        return tuple(_python(item) for item in value)
    if type(value) is dict:
        return {name: _python(item) for name, item in value.items()}
    return value


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(item) for name, item in value.items()}
    return [_without_null(item) for item in value] if isinstance(value, list) else "none" if value is None else value


def _advice(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def _one_line(error: ValidationError) -> str:
    """All that is wrong, as "name: what should be, got value" joined by semicolons; the options of a union by "or"."""
    causes: dict[str, list[str]] = {}
    faults = error.errors(include_url=False)
    for fault in faults:
        place, cause = fault["loc"], fault.get("ctx", {}).get("error")
        if len(place) > 1 and sum(f["loc"][:-1] == place[:-1] and f["input"] is fault["input"] for f in faults) > 1:
            place = place[:-1]  # its last part is an option of a union
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)[1:]
        if isinstance(cause, FieldError) or not name:  # from a record inside, or of several fields
            causes[f"{name}.{cause}" if name else str(cause)] = []
            continue
        text, got = str(cause) if cause else fault["msg"][:1].lower() + fault["msg"][1:], repr(fault["input"])
        if cause is None and fault["type"] != "missing":
            text += f", got {got if len(got) <= 80 else got[:77] + '...'}"
        causes.setdefault(name, []).append(text)
    return "; ".join(f"{name}: {' or '.join(texts)}" if texts else name for name, texts in causes.items())


def toml_names(folder: Path) -> list[str]:
    """The names of the TOML files in a folder of the package, sorted."""
    return sorted(file.stem for file in folder.glob("*.toml"))


def read_toml(what: str, name: str | os.PathLike[str], folder: Path | None = None) -> dict[str, Any]:
    """Read the TOML file of that name in a folder of the package, or the one at a path.

    what: names the file in messages. Raises ValueError that lists the known names or says what is wrong in the file.
    """
    known = toml_names(folder) if folder else []
    choice = f"one of {', '.join(known)}, or " if known else ""
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise ValueError(f"{what}: must be {choice}the path of a TOML file, got {name!r}")
    path = folder / f"{name}.toml" if folder and name in known else Path(name)
    try:
        return tomllib.loads(read_bytes(path, limit=_TOML_LIMIT).decode())
    except FileNotFoundError:
        raise ValueError(f"{what}: must be {choice}the path of a TOML file; there is no file {str(name)!r}") from None
    except OSError as error:
        raise ValueError(f"{what} {path} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ValueError(f"{what} {path} is nested too deeply") from error
    except ValueError as error:  # not a file, not UTF-8, not TOML
        raise ValueError(f"{what} {path} is not a TOML file: {error}") from error
