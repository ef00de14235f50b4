"""Files that are either the old one or the new one, never half of it; bounded reads; hashes.

Nothing here writes through a symbolic link: a new file is made beside the target and takes its place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import platform
import re
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_BINARY = getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe must not wait for its other end
JSON_LIMIT = 64 << 20  # bytes; a record of ten thousand epochs has a tenth of them


def write_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` through a temporary file beside it; folders are made.

    The file's permissions are those of any new file of the user (umask). A kill may leave the temporary file
    `.NAME.xxxxxxxxxxxxxxxx.partial` behind, which `sweep` removes.
    """
    target = Path(path)
    if not target.name or target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY | _NO_FOLLOW, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8, atomically."""
    return write_atomic(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write a JSON file, atomically; NaN and infinity are refused."""
    return write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> Path:
    """Write a compressed NumPy archive of arrays by their names, atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return write_atomic(path, buffer.getvalue())


def sweep(folder: Path, name: str) -> None:
    """Remove temporary files of `write_atomic(folder / name, ...)` that a kill left; the caller holds the folder's lock."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.partial")
    for path in folder.iterdir():
        if pattern.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
            path.unlink(missing_ok=True)


def check_folder(name: str, folder: Path) -> None:
    """Raise ValueError, with `name`, for a folder that cannot be made or written to."""
    at = folder.absolute()
    while not at.exists():
        at = at.parent
    if not at.is_dir() or not os.access(at, os.W_OK):
        raise ValueError(f"{name} must name a folder that can be written to, got {str(folder)!r}")


def is_writable(file: Path) -> bool:
    """Whether a file can be made or replaced: its folder is there, and it is no folder itself."""
    folder = file.absolute().parent
    return not file.is_dir() and folder.is_dir() and os.access(folder, os.W_OK)


def read_bytes(path: str | os.PathLike[str], *, limit: int, follow: bool = True) -> bytes:
    """The bytes of a regular file: no device, no pipe, and nothing larger than `limit` bytes.

    follow: whether `path` may be a symbolic link.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is a folder or no regular file, or larger.
    """
    handle = os.open(path, os.O_RDONLY | _BINARY | _NO_WAIT | (0 if follow else _NO_FOLLOW))
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            found = "a folder, not a file" if stat.S_ISDIR(facts.st_mode) else "not a regular file"
            raise ValueError(f"{os.fspath(path)} is {found}")
        if facts.st_size > limit:
            raise ValueError(f"{os.fspath(path)} has {facts.st_size} bytes, the bound is {limit}")
        with open(handle, "rb", closefd=False) as file:
            return file.read(min(limit, facts.st_size) + 1)[:limit]  # Python allocates all that it is asked for
    finally:
        os.close(handle)


def read_json(path: str | os.PathLike[str], *, limit: int = JSON_LIMIT) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is no regular file, larger than `limit` bytes, or not JSON; the message names the file.
    """
    return parse_json(read_bytes(path, limit=limit), os.fspath(path))


def parse_json(text: str | bytes, origin: str) -> Any:
    """The value of a JSON text. Raises ValueError that names `origin`, also for one that is nested too deeply."""
    try:
        return json.loads(text)
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise ValueError(f"{origin} is not valid JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{origin} is nested too deeply") from error


def sha256(raw: bytes | memoryview) -> str:
    """The sha256 of some bytes as 64 hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


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
