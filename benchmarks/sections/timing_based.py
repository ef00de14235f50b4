"""SpikingJelly's continuous-time layers beside ours, once: the same events, net sizes and optimizer, another neuron."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .. import inputs, timing
from ..nets import Setting, build, training_step
from ..records import recording_failures
from ..session import Session
from ..table_cells import milliseconds, ratio
from ..workloads import MLP

TITLE = "Continuous time: SpikingJelly's timing_based"
STEPS = 8
BATCH = 16
#: A call takes seconds: few rounds are enough.
EFFORT = timing.Effort(rounds=3, seconds=1.0, most=10, block=0.0, settle=0.0, warmup=1)


def measure(session: Session) -> None:
    """One cell: the training step of the small net."""
    head = {"work": MLP.name, "batch": BATCH, "steps": STEPS}
    session.record("timing_based").measure(f"{MLP.name}-T{STEPS}", lambda: _times(session), **head)


def _times(session: Session) -> dict[str, Any]:
    batch = inputs.batch("fashion-mnist", BATCH, STEPS, flat=True)
    sides: dict[str, timing.Call] = {
        "firstspike": training_step(build(Setting("firstspike", "eager"), MLP, STEPS), batch.spikes, batch.labels)
    }
    failures: dict[str, str] = {}
    with recording_failures(failures, "timing_based"):
        from ..nets.timing_based_net import TimingBasedNet, events_of

        sizes = tuple(int(size) for size in MLP.spec.split("-"))
        step = training_step(TimingBasedNet(sizes), events_of(batch.spikes), batch.labels)
        step()
        sides["timing_based"] = step
    return {"times": session.alternate(sides, EFFORT), "failures": failures}


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Milliseconds of a step."""
    lines = [
        {
            "net": row["work"],
            "B": row["batch"],
            "side": side,
            "ms": milliseconds(row["times"], side),
            "times as long as firstspike": ratio(row["times"], side),
            "": row["failures"].get(side, ""),
        }
        for row in rows
        for side in ("firstspike", "timing_based")
    ]
    return [(f"Training step on the events of a code of {STEPS} steps, median (quartiles)", pd.DataFrame(lines))]
