"""Chip profiles as TOML: one table per parameter with its source, and `[[cores]]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tomli_w

from ..._base.checks import shown
from ..._base.fields import refuse_unknown
from .profile_energy import written

if TYPE_CHECKING:
    from .profile import Profile

_KEYS = ("value", "unknown", "low", "high", "source")
_GIVEN = ({"value"}, {"unknown"}, {"low", "high"})
_NO_PARAMETERS = ("name", "description", "cores", "sources")
NO_SOURCE = "none given"


def parse(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `Profile.from_dict` takes, from the values in a TOML file. Raises ValueError naming parameter and key."""
    tables = dict(values)
    name = tables.pop("name", None)
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be given, and be a text that is not empty, got {shown(name)}")
    made = {"name": name, "description": tables.pop("description", ""), "cores": tables.pop("cores", [])}
    made["sources"] = {parameter: _source(parameter, table) for parameter, table in tables.items()}
    return made | {parameter: _value(parameter, table) for parameter, table in tables.items()}


def dumps(profile: Profile) -> str:
    """A profile as the text of a TOML file, from which `parse` makes it again."""
    made: dict[str, Any] = {"name": profile.name, "description": profile.description}
    for field in dataclasses.fields(profile):
        value, source = getattr(profile, field.name), profile.sources.get(field.name)
        if field.name in _NO_PARAMETERS or (source is None and value == field.default):
            continue
        if field.name == "energy":
            value = written(value, profile.name)
        if value is None:
            table: dict[str, Any] = {"unknown": True}
        elif field.name == "step_nanoseconds":
            table = dict(zip(("low", "high"), value, strict=True))
        else:
            table = {"value": value}
        made[field.name] = table | {"source": source or NO_SOURCE}
    made["cores"] = [
        {name: value for name, value in dataclasses.asdict(kind).items() if value not in (None, "")}
        for kind in profile.cores
    ]
    return tomli_w.dumps(made)


def _source(parameter: str, table: object) -> str:
    if isinstance(table, dict):
        refuse_unknown(table, _KEYS, f"{parameter}.", missing="there is no key")
        source = table.get("source")
        if isinstance(source, str) and source:
            return source
    raise ValueError(f"{parameter} must be a table with a source")


def _value(parameter: str, table: Mapping[str, Any]) -> object:
    given = {key: value for key, value in table.items() if key != "source"}
    if set(given) not in _GIVEN or given.get("unknown", True) is not True:
        got = " and ".join(f"{key} = {shown(value)}" for key, value in given.items()) or "none of them"
        raise ValueError(f"{parameter} must have one of value, unknown = true, or low and high together, got {got}")
    return [given["low"], given["high"]] if "low" in given else given.get("value")
