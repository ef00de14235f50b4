"""The energy table of a chip profile: the name of one that ships, a table, or the path of its TOML file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from ... import energy
from ...energy import EnergyTable


def loaded(table: str | os.PathLike[str] | Mapping[str, Any] | EnergyTable, profile: str) -> EnergyTable:
    """The table, as `energy.load` takes it. Raises ValueError naming the profile."""
    try:
        return energy.load(table)
    except (TypeError, ValueError) as error:
        raise ValueError(f"profile {profile}: energy: {error}") from error


def held(table: str | os.PathLike[str], folder: Path, profile: str) -> str | EnergyTable:
    """What a profile holds: the name of a table that ships, or the table in a file; a relative path starts at the folder.

    Raises ValueError naming the profile.
    """
    return table if _ships(table) else loaded(str((folder / table).resolve()), profile)


def written(table: str | EnergyTable | None, profile: str) -> str | dict[str, Any] | None:
    """What a file holds: the name of a table that ships, or the figures of another; the absolute path of a file that is gone.

    Raises ValueError naming the profile where the file at a path is no energy table.
    """
    if table is None or _ships(table):
        return table
    if isinstance(table, str) and not os.path.isfile(table):
        return os.path.abspath(table)
    figures = dataclasses.asdict(loaded(table, profile))
    return {name: value for name, value in figures.items() if value is not None}


def _ships(table: object) -> TypeGuard[str]:
    return isinstance(table, str) and table in energy.names()
