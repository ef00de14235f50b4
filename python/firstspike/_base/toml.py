"""TOML files that ship inside a package or that users write, found by name or path."""

from __future__ import annotations

import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from .checks import shown


def names(package: str, folder: str) -> list[str]:
    """The names of the TOML files in `folder` of a package, sorted."""
    found = resources.files(package).joinpath(folder).iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in found if entry.name.endswith(".toml"))


def read(what: str, package: str, folder: str, name: str | os.PathLike[str]) -> dict[str, Any]:
    """The file of that name in a package's folder, or the file at a path.

    what: names the file in messages. Raises ValueError that lists the known names or says what is wrong in the file.
    """
    known = names(package, folder)
    if not isinstance(name, (str, os.PathLike)) or not isinstance(os.fspath(name), str):
        raise TypeError(f"{what} must be a name ({', '.join(known)}) or the path of a TOML file, got {shown(name)}")
    if isinstance(name, str) and name in known:
        text, origin = resources.files(package).joinpath(folder, f"{name}.toml").read_text(encoding="utf-8"), name
    elif Path(name).is_file():
        text, origin = _text(what, Path(name)), str(name)
    else:
        if isinstance(name, os.PathLike) or name.endswith(".toml") or os.sep in name:
            raise ValueError(
                f"{what}: there is no file {str(name)!r}; give one that exists, or one of {', '.join(known)}"
            )
        raise ValueError(f"{what} must be one of {', '.join(known)}, or the path of a TOML file, got {str(name)!r}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{what} {origin} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{what} {origin} is nested too deeply") from error


def _text(what: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{what} {path} cannot be read as text: {error}") from error
