"""The training step as in `steps`, but with the C library's own settings: what is freed goes back to the system, and comes
again as fresh pages.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from .. import inputs
from ..session import Session
from . import steps

TITLE = "Training step where freed memory goes back to the system"


def measure(session: Session) -> None:
    """One cell per net and number of steps."""
    steps.measure_workloads(session, "allocator", inputs.SOURCES[:1])


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Ours and the ratios, with targets."""
    return steps.tables(rows)[:1]
