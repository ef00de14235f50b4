"""Where data sets are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ENVIRONMENT = "FIRSTSPIKE_DATA"


def user_root(root: str | os.PathLike[str] | None) -> Path | None:
    """The folder the user named: `root`, else the environment's FIRSTSPIKE_DATA, else None.

    Raises:
        ValueError: if a folder was named that does not exist.
    """
    value, origin = (root, "root") if root is not None else (os.environ.get(ENVIRONMENT) or None, ENVIRONMENT)
    if value is None:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{origin} must name an existing folder, got {str(folder)!r}")
    return folder


def cache_root() -> Path:
    """The folder for fetched data: $XDG_CACHE_HOME/firstspike, else the platform's cache folder for the user."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "firstspike"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "firstspike"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "firstspike"
    return Path.home() / ".cache" / "firstspike"
