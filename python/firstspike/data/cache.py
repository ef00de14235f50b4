"""Where data sets are kept, and a lock for processes that fetch the same set at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .._files import write_atomic as write_atomic

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


def sha256(raw: bytes | memoryview) -> str:
    """The sha256 of some bytes as 64 hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; other processes wait. The system frees it when the holder ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":  # no flock there: writes are atomic, so two fetches only cost time
        yield
        return
    import fcntl

    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
