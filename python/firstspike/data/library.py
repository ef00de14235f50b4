"""Data sets that another library reads: it knows their address; the archive is fetched here, with short time limits."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

from .._base.files import sweep
from . import cache
from .deadline import Deadline
from .errors import NotAvailable
from .mirrors import DownloadFailed, download_file
from .progress import STOP, say

T = TypeVar("T")
UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
)  # what readers raise for files that are not whole
SECONDS = 3600.0  # bound of a whole download, up to 3 GB


def load(
    name: str,
    read: Callable[[Path], T],
    *,
    root: Path | None,
    download: bool | None,
    url: str,
    archive: str,
    md5: str,
    limit: int,
) -> tuple[T, str]:
    """Read a data set from the user's folder, else from the cache, else after fetching its archive into the cache.

    Args:
        name: the data set's name.
        read: reads (and unpacks, if need be) the set below a folder; raises OSError or RuntimeError where it is
            not there, EOFError or UnpicklingError where it is not whole.
        root: the user's folder, or None.
        download: whether it may be fetched; None leaves that to the environment.
        url: address of the archive.
        archive: the archive's path below the folder.
        md5: the archive's md5.
        limit: the archive's largest plausible length in bytes.

    Returns:
        What `read` returned, and the place that it was read from.
    """
    tried: list[str] = []
    kept = cache.cache_root() / name
    for folder, kind in [(root, "folder"), (None if root is None else root / name, "folder"), (kept, "cache")]:
        if folder is None:
            continue
        try:
            packed = (folder / archive).is_file()
            with cache.lock_if_writable(folder) if packed else nullcontext():  # one process unpacks it, and others wait
                return read(folder), f"{kind} {folder}"
        except UNREADABLE as error:
            tried.append(f"{folder}: {error}")
    by_hand = (
        f"To put it in place by hand, download {url}\nto DIR/{archive} (md5 {md5}) and give DIR as `root`,\n"
        f"as `--data DIR`, or in the environment variable {cache.ENVIRONMENT} (or put it into {cache.shown(kept)})."
    )
    reason = cache.forbidden(download)
    if reason:
        raise NotAvailable(name, [*tried, reason], by_hand)
    with cache.lock_if_writable(kept) as problem:
        if problem is not None:
            raise NotAvailable(name, [*tried, f"{kept} cannot be written: {problem}"], by_hand) from problem
        try:
            if not has_md5(kept / archive, md5):
                say(f"{name}: fetching {url} into {kept}; {STOP}")
                if (kept / archive).parent.is_dir():
                    sweep((kept / archive).parent, (kept / archive).name)
                download_file(url, kept / archive, md5=md5, limit=limit, deadline=Deadline(SECONDS))
            return read(kept), f"cache {kept}"
        except (DownloadFailed, *UNREADABLE) as error:
            tried.append(f"{url}: {error}")
            raise NotAvailable(name, tried, by_hand) from error


def has_md5(path: Path, md5: str) -> bool:
    """Whether a file is there and has this md5."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == md5
