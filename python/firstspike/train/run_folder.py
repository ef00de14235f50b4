"""The folder of a run: which files in it are the run's own, and what a new run may do with the rest: nothing."""

from __future__ import annotations

from pathlib import Path

from .._base.files import JSON_LIMIT, parse_json, read_bytes, read_json, sweep
from ..models.files import FILE as MODEL
from ..models.files import FORMAT
from . import checkpoint
from .checkpoint import BadCheckpoint
from .result import Result

RESULT = "result.json"


def claim(folder: Path) -> None:
    """Make the folder ready for a run, or refuse it. The caller holds its lock.

    Names that begin with a dot are left alone, whatever they are.

    Raises:
        ValueError: if there are files that are not a run's where a run is to begin, or a foreign file under a name
            that the run would write.
    """
    for name in (RESULT, MODEL, checkpoint.FILE):
        path = folder / name
        if (path.exists() or path.is_symlink()) and not _is_own(path):
            raise ValueError(f"{path} was not written by firstspike; move it, or name another folder (directory=)")
    if any((folder / name).is_file() for name in (RESULT, checkpoint.FILE)):
        return  # a run's folder; what else is in it (reports, pictures) is left alone
    others = [entry.name for entry in sorted(folder.iterdir()) if not entry.name.startswith(".") and not _is_own(entry)]
    if others:
        names = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        raise ValueError(f"{folder} holds other files ({names}); name a new or an empty folder (directory=)")


def clear(folder: Path) -> None:
    """Remove what an earlier run wrote, by its own record, so that a run starts over."""
    for name in (RESULT, MODEL):
        if _is_own(folder / name):
            (folder / name).unlink()
    try:
        found = checkpoint.load_progress(folder)
    except BadCheckpoint:
        found = None
    if _is_own(folder / checkpoint.FILE):
        (folder / checkpoint.FILE).unlink()
    if found is not None:
        progress, record = found
        (folder / record["tensors"]).unlink(missing_ok=True)
        checkpoint.sweep_leftovers(folder, checkpoint.run_id(progress), keep=None)


def sweep_leftovers(folder: Path, run: str, keep: str | None) -> None:
    """Remove what a kill left of this run: temporary files, and tensors that its record does not name."""
    for name in (RESULT, MODEL):
        sweep(folder, name)
    checkpoint.sweep_leftovers(folder, run, keep)


def read_result(folder: Path) -> Result | None:
    """The result of a finished run, None where there is none.

    Raises:
        BadCheckpoint: if the file is damaged.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        return Result.from_dict(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError, OSError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadCheckpoint(f"{path} is damaged ({what}); resume=False starts over") from error


def _is_own(path: Path) -> bool:
    """Whether a file carries the mark of this package; a damaged one may, by what is left of it."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        if path.suffix == ".json":
            return _json_is_own(read_bytes(path, limit=JSON_LIMIT))
        if path.suffix == ".safetensors":
            mark = "firstspike-checkpoint" if path.name.startswith("checkpoint-") else FORMAT
            return _mark(path) == mark or _named_by_old_record(path)
    except (OSError, ValueError):
        pass
    return False


def _json_is_own(raw: bytes) -> bool:
    start = raw[:200]
    return b'"program": "firstspike"' in start or start.startswith((b'{\n "format": 1,', b'{\n "config": {'))


def _mark(path: Path) -> str | None:
    """The format that a safetensors file's metadata name; only its header is read."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = parse_json(file.read(min(size, 1 << 20)), str(path))
    mark: str | None = header.get("__metadata__", {}).get("format")
    return mark


def _named_by_old_record(path: Path) -> bool:
    """Version 0.1 wrote no mark into a checkpoint's tensors."""
    try:
        found = checkpoint.load_progress(path.parent)
    except BadCheckpoint:
        return False
    return found is not None and found[1]["tensors"] == path.name
