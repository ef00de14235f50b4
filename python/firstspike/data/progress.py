"""Progress bars of downloads, on stderr; silent where stderr is no terminal."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm

STOP = "Ctrl-C stops it; download=False or FIRSTSPIKE_OFFLINE=1 forbids it"


def bytes_bar(description: str, total: int | None) -> Any:
    """A bar that counts bytes; `total` is None where the length is not known."""
    return tqdm(
        desc=description, total=total, unit="B", unit_scale=True, unit_divisor=1024, leave=False, file=sys.stderr,
        disable=None,
    )  # fmt: skip


def say(message: str) -> None:
    """One line on stderr, above any bar."""
    tqdm.write(message, file=sys.stderr)
