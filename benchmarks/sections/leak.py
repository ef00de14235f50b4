"""The training step with leaky neurons: a decay of 0.9 per step, in the hidden layers and in the readout."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from ..nets import FIRES_ONCE, Setting, settings
from ..session import Session
from ..table_cells import milliseconds, ratio
from ..workloads import CNN, MLP, Workload, workload_named

TITLE = "Leaky neurons"
DECAY = 0.9
OURS = "firstspike: eager"
PEERS = {"spikingjelly: LIFNode, ": "spikingjelly", "spikingjelly: fires once, ": FIRES_ONCE, "dense: ": "dense"}


def sides(workload: Workload, steps: int, *, quick: bool = False) -> dict[str, Setting]:
    """Ours, with and without a leak, and the peers in every setting among which their best is looked for.

    quick: SpikingJelly without torch.compile, which takes too long for the quick form.
    """
    leaky = {"decay": DECAY}
    found = {OURS: Setting("firstspike", "eager", options=leaky)}
    found["firstspike, no leak: eager"] = Setting("firstspike", "eager")
    for side, library in PEERS.items():
        for setting in settings(library, maps=not workload.flat, steps=steps):
            if library == "dense":  # a running sum has no leak, and the loop is faster compiled
                chosen = setting.compiled and setting.options["neurons"] == "loop"
            else:
                chosen = not (quick and setting.compiled)
            if chosen:
                found[side + setting.name] = replace(setting, options=setting.options | leaky)
    return found


def measure(session: Session) -> None:
    """One cell per net and number of steps."""
    record = session.record("leak")
    for workload in (MLP, CNN) if session.full else (MLP,):
        for steps in (8, 64) if session.full and workload is MLP else (8,):
            times = partial(session.compare, sides(workload, steps, quick=not session.full), workload, steps)
            record.measure(f"{workload.name}-T{steps}", times, work=workload.name, steps=steps, decay=DECAY)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Milliseconds of every side in every setting."""
    lines = [
        {
            "net": row["work"],
            "T": row["steps"],
            "side": name.partition(": ")[0],
            "setting": name.partition(": ")[2],
            "ms": milliseconds(row["times"], name),
            "times as long as firstspike": ratio(row["times"], name, OURS),
        }
        for row in rows
        for name in sides(workload_named(row["work"]), row["steps"])
        if name in row["times"] or name in row["failures"]
    ]
    return [(f"Training step with a decay of {DECAY:g}, median (quartiles)", pd.DataFrame(lines))]
