"""The training step with leaky neurons: a decay of 0.9 per step, in the hidden layers and in the readout."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .. import inputs
from ..nets import Setting, training_step
from ..records import timed
from ..session import Session
from ..table_cells import milliseconds, ratio
from ..workloads import CNN, MLP

TITLE = "Leaky neurons"
DECAY = 0.9
SIDES = {
    "firstspike": Setting("firstspike", "eager", options={"decay": DECAY}),
    "firstspike, no leak": Setting("firstspike", "eager"),
    "spikingjelly": Setting("spikingjelly", "LIFNode, multi-step", options={"decay": DECAY}),
    "spikingjelly, fires once": Setting("spikingjelly", "fires once", options={"decay": DECAY, "fires_once": True}),
    "dense": Setting("dense", "loop, compiled", compiled=True, options={"decay": DECAY}),
}


def measure(session: Session) -> None:
    """One cell per net and number of steps."""
    record = session.record("leak")
    for workload in (MLP, CNN) if session.full else (MLP,):
        for steps in (8, 64) if session.full and workload is MLP else (8,):
            cell = f"{workload.name}-T{steps}"
            if record.has(cell):
                continue
            session.log(f"leak {cell}")
            batch = inputs.batch("fashion-mnist", workload.batch, steps, flat=workload.flat)
            samples, failures = session.compare(SIDES, workload, batch, training_step)
            record.add(cell, work=workload.name, steps=steps, decay=DECAY, times=timed(samples), failures=failures)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Milliseconds of every side."""
    lines = [
        {
            "net": row["work"],
            "T": row["steps"],
            "side": side,
            "setting": SIDES[side].name,
            "ms": milliseconds(row["times"], side),
            "times as long as firstspike": ratio(row["times"], side),
        }
        for row in rows
        for side in SIDES
        if side in row["times"] or side in row["failures"]
    ]
    return [(f"Training step with a decay of {DECAY:g}, median (quartiles)", pd.DataFrame(lines))]
