"""Files that are either the old one or the new one, never half of it; bounded reads; hashes; the lock of a folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

JSON_LIMIT = 64 << 20  # bytes; a record of ten thousand epochs has a tenth of them
LOCK = ".lock"


def write_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` through a temporary file next to it; make missing folders.

    A link stays, and its target is replaced. Permissions follow the umask. A kill may leave the temporary file
    `.NAME.xxxxxxxxxxxxxxxx.partial` behind, which `sweep` removes.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return Path(path)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8, atomically."""
    return write_atomic(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write a JSON file, atomically; refuse NaN and infinity."""
    return write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> Path:
    """Write a compressed NumPy archive of arrays by their names, atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return write_atomic(path, buffer.getvalue())


def sweep(folder: Path, name: str = "*") -> None:
    """Remove temporary files that a killed `write_atomic` left; the caller holds the folder's lock."""
    for path in folder.glob(f".{name}.{'[0-9a-f]' * 16}.partial"):
        if path.is_file():
            path.unlink(missing_ok=True)


def check_folder(name: str, folder: Path) -> None:
    """Raise ValueError, with `name`, for a folder that cannot be made or written to."""
    at = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not at.is_dir() or not os.access(at, os.W_OK):
        raise ValueError(f"{name} must name a folder that can be written to, got {str(folder)!r}")


def is_writable(file: Path) -> bool:
    """Return True if the file can be made or replaced: its folder exists, and it is not a folder itself."""
    folder = file.absolute().parent
    return not file.is_dir() and folder.is_dir() and os.access(folder, os.W_OK)


def read_bytes(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes: no device, no pipe.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it is not a regular file, or larger.
    """
    facts = os.stat(path)
    if not stat.S_ISREG(facts.st_mode):
        kind = "a folder, not a file" if stat.S_ISDIR(facts.st_mode) else "not a regular file"
        raise ValueError(f"{os.fspath(path)} is {kind}")
    if facts.st_size > limit:
        raise ValueError(f"{os.fspath(path)} has {facts.st_size} bytes, the bound is {limit}")
    return Path(path).read_bytes()


def read_json(path: str | os.PathLike[str], *, limit: int = JSON_LIMIT) -> Any:
    """Read the value of a JSON file. Raises OSError and ValueError as `read_bytes` and `parse_json`."""
    return parse_json(read_bytes(path, limit=limit), os.fspath(path))


def parse_json(text: str | bytes, origin: str) -> Any:
    """Return the value of a JSON text. Raises ValueError that names `origin`, also if the text is nested too deeply."""
    try:
        return json.loads(text)
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise ValueError(f"{origin} is not valid JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{origin} is nested too deeply") from error


def sha256(raw: bytes | memoryview) -> str:
    """Return the sha256 of some bytes as 64 hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if need be; wait for another holder, and say so on stderr.

    The system frees the lock when its process ends, also by a kill.
    """
    from filelock import FileLock, Timeout  # slow to import, and not needed without a folder

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, is_singleton=True)  # the holder may lock the folder again
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process that works in {folder}; Ctrl-C stops waiting", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
