"""Files that are either the old one or the new one, never half of it; hashes; a lock per folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` through a temporary file beside it; folders are made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8, atomically."""
    return write_atomic(path, text.encode())


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
