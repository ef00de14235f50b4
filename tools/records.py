"""Record files: JSON with a format number, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from firstspike.report import write_text

FORMAT = 1


def write_record(path: Path, values: dict[str, Any], *, sort_keys: bool = False) -> dict[str, Any]:
    """Write `values` with the format number; returns what reading the file gives.

    Raises ValueError for a value that JSON cannot hold (NaN, infinity); the file then stays as it was.
    """
    text = json.dumps({"format": FORMAT, **values}, indent=1, sort_keys=sort_keys, allow_nan=False) + "\n"
    write_text(path, text)
    found: dict[str, Any] = json.loads(text)
    return found


def read_record(path: Path) -> dict[str, Any] | None:
    """The contents of a record; None where there is no file. ValueError for a file that is damaged or of another
    format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    record = json.loads(text)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else record
        raise ValueError(f"{path} must have format {FORMAT}, got {found!r}")
    return record
