"""Where data sets are kept, and whether they may be fetched."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from .._base.checks import path
from .._base.files import locked

ENVIRONMENT = "FIRSTSPIKE_DATA"
OFFLINE = "FIRSTSPIKE_OFFLINE"


def user_root(root: str | os.PathLike[str] | None) -> Path | None:
    """The folder the user named: `root`, else the environment's FIRSTSPIKE_DATA, else None.

    Raises:
        ValueError: if a folder was named that does not exist.
    """
    value, origin = (root, "root") if root is not None else (os.environ.get(ENVIRONMENT) or None, ENVIRONMENT)
    if value is None:
        return None
    try:
        folder = path(origin, value).expanduser()
    except RuntimeError as error:  # "~" where the user has no home folder
        raise ValueError(f"{origin} must name an existing folder, got {os.fspath(value)!r} ({error})") from error
    if not folder.is_dir():
        raise ValueError(f"{origin} must name an existing folder, got {str(folder)!r}")
    return folder


def cache_root() -> Path:
    """The folder for fetched data: $XDG_CACHE_HOME/firstspike, else the platform's cache folder for the user.

    Examples:
        >>> data.cache_root().name
        'firstspike'
    """
    if os.environ.get("XDG_CACHE_HOME"):  # on every system, not only where platformdirs reads it
        return Path(os.environ["XDG_CACHE_HOME"]) / "firstspike"
    return Path(platformdirs.user_cache_dir("firstspike", appauthor=False))


def shown(folder: Path) -> str:
    """A folder for readers, who may have another home: below the user's it begins with ~."""
    try:
        return f"~/{folder.relative_to(Path.home()).as_posix()}"
    except (ValueError, RuntimeError):  # elsewhere, or no home
        return str(folder)


def offline() -> bool:
    """Whether the environment variable FIRSTSPIKE_OFFLINE forbids fetching (any value but "" and "0").

    Examples:
        >>> import os
        >>> data.offline() == (os.environ.get("FIRSTSPIKE_OFFLINE", "0") not in ("", "0"))
        True
    """
    return os.environ.get(OFFLINE, "") not in ("", "0")


def forbidden(download: bool | None) -> str | None:
    """Why nothing may be fetched, in words; None where it may. `download` None leaves it to the environment."""
    if download is False:
        return "fetching was not allowed (download=False)"
    if download is None and offline():
        return f"fetching was not allowed ({OFFLINE}={os.environ[OFFLINE]})"
    return None


@contextlib.contextmanager
def lock_if_writable(folder: Path) -> Iterator[OSError | None]:
    """Hold the cache folder's lock; gives the error instead where the folder cannot be written."""
    with contextlib.ExitStack() as stack:
        problem = None
        try:
            stack.enter_context(locked(folder))
        except OSError as error:
            problem = error
        yield problem
