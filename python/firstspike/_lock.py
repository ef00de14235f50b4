"""A lock per folder, for processes that would write to it at the same time."""

from __future__ import annotations

import contextlib
import os
import platform
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ._files import read_bytes, sweep, write_text

LOCK = ".lock"
HOLDER = ".lock.holder"
_PAUSE = 0.1  # seconds between two tries


class FolderLock:
    """The lock of a folder: the file `.lock` in it, held through the system (filelock), so that it ends with its holder.

    While it is held, `.lock.holder` says by whom. Neither file is ever written through a link.

    Args:
        folder: it is made if need be.

    Raises:
        OSError: if the folder or the file cannot be made, or the file is a link.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock  # slow to import, and not needed without a folder

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOCK
        with contextlib.suppress(FileNotFoundError):
            facts = path.lstat()
            if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
                raise OSError(f"{path} is a link or no regular file; remove it")
        self.folder = folder
        self._lock = FileLock(path)

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        with contextlib.suppress(OSError):
            sweep(self.folder, HOLDER)
            write_text(self.folder / HOLDER, f"process {os.getpid()} on {platform.node()} since {_now()}\n")
        return True

    def release(self) -> None:
        """Give the lock back."""
        with contextlib.suppress(OSError):
            (self.folder / HOLDER).unlink(missing_ok=True)
        self._lock.release()

    def holder(self) -> str:
        """Who holds the lock, in words."""
        try:
            text = read_bytes(self.folder / HOLDER, limit=1000, follow=False).decode(errors="replace").strip()
        except (OSError, ValueError):
            text = ""
        return "".join(c for c in text if c.isprintable()) or "another process"


@contextlib.contextmanager
def locked(folder: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the folder's lock; wait for another holder.

    waiting: called once with a message where there is something to wait for; by default it is written to stderr.
    """
    lock = FolderLock(folder)
    if not lock.try_acquire():
        (waiting or _tell)(f"waiting for {lock.holder()}, which works in {folder}; Ctrl-C stops waiting")
        while not lock.try_acquire():
            time.sleep(_PAUSE)
    try:
        yield
    finally:
        lock.release()


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
