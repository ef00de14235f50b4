"""In which checkout of the repository a record was made: one that was committed is no reproduction of itself."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from firstspike.report import write_text


def here(folder: Path) -> str:
    """The name of this checkout's results in `folder`, made at the first call; git ignores the file."""
    file = folder / ".checkout"
    if not file.is_file():
        write_text(file, f"{uuid.uuid4().hex}\n")
    return file.read_text(encoding="utf-8").strip()


def made_here(record: Mapping[str, Any], folder: Path) -> bool:
    """Whether a record of the results in `folder` was made in this checkout."""
    return record.get("checkout") == here(folder)
