"""TOML files that ship with the emulator or that users write, by name or path."""

from __future__ import annotations

import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any


def names(folder: str) -> list[str]:
    """The names of the files that ship in `folder`, sorted."""
    found = resources.files(__package__).joinpath(folder).iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in found if entry.name.endswith(".toml"))


def read(folder: str, name: str | os.PathLike[str]) -> dict[str, Any]:
    """The file that ships under a name, or the file at a path; ValueError naming what is known or what is wrong."""
    known = names(folder)
    if isinstance(name, str) and name in known:
        text, origin = resources.files(__package__).joinpath(folder, f"{name}.toml").read_text(encoding="utf-8"), name
    elif Path(name).is_file():
        text, origin = Path(name).read_text(encoding="utf-8"), str(name)
    else:
        raise ValueError(f"{folder} must be one of {', '.join(known)}, or the path of a TOML file, got {str(name)!r}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{origin} is no valid TOML: {error}") from error
