"""Which setting of SpikingJelly and of the dense net is the fastest on this processor; the other sections use it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from .. import peer_settings
from ..nets import FIRES_ONCE, settings
from ..session import Session
from ..timing import Effort
from ..workloads import WORKLOADS

TITLE = "Settings of the peers"
LIBRARIES = ("spikingjelly", FIRES_ONCE, "dense")


def measure(session: Session) -> None:
    """A short training run of each setting; one cell per net, number of steps, and library."""
    record = session.record("sweep")
    effort = Effort(rounds=5, seconds=4.0, most=30, block=0.01)
    for workload in WORKLOADS:
        for steps in workload.steps if session.full else workload.steps[:1]:
            for library in LIBRARIES:
                chosen = {s.name: s for s in settings(library, maps=not workload.flat, steps=steps)}
                times = partial(session.compare, chosen, workload, steps, effort=effort)
                head = {"work": workload.name, "steps": steps, "library": library, "batch": workload.batch}
                record.measure(peer_settings.sweep_cell(workload, steps, library), times, **head)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """One row per setting."""
    lines = []
    for row in rows:
        head = {"net": row["work"], "T": row["steps"], "library": row["library"]}
        medians = sorted((time["median"], name) for name, time in row["times"].items())
        lines += [{**head, "setting": name, "ms per step": f"{median:.1f}"} for median, name in medians]
        lines += [{**head, "setting": name, "ms per step": error} for name, error in row["failures"].items()]
    return [("Training step by setting, Fashion-MNIST, the fastest first", pd.DataFrame(lines))]
