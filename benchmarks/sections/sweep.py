"""Which setting of SpikingJelly and of the dense net is the fastest on this processor: the one that the other sections
use.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from .. import inputs, peer_settings
from ..nets import FIRES_ONCE, settings, training_step
from ..records import timed
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
        maps = not workload.flat
        for steps in workload.steps if session.full else workload.steps[:1]:
            batch = inputs.batch("fashion-mnist", workload.batch, steps, flat=not maps)
            for library in LIBRARIES:
                cell = peer_settings.sweep_cell(workload, steps, library)
                if record.has(cell):
                    continue
                session.log(f"sweep {cell}")
                chosen = {s.name: s for s in settings(library, maps=maps, steps=steps)}
                samples, failures = session.compare(chosen, workload, batch, training_step, effort)
                record.add(
                    cell,
                    work=workload.name,
                    steps=steps,
                    library=library,
                    batch=workload.batch,
                    times=timed(samples),
                    failures=failures,
                )


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """One row per setting."""
    lines = []
    for row in rows:
        medians = {name: time["median"] for name, time in row["times"].items()}
        for name, median in sorted(medians.items(), key=lambda item: item[1]):
            lines.append(
                {
                    "net": row["work"],
                    "T": row["steps"],
                    "library": row["library"],
                    "setting": name,
                    "ms per step": f"{median:.1f}",
                }
            )
        lines += [
            {"net": row["work"], "T": row["steps"], "library": row["library"], "setting": name, "ms per step": error}
            for name, error in row["failures"].items()
        ]
    return [("Training step by setting, Fashion-MNIST, the fastest first", pd.DataFrame(lines))]
