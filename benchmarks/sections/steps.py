"""The training step, forward + backward + Adam, beside the peers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from .. import inputs
from ..nets import FIRES_ONCE, Setting
from ..peer_settings import fastest_setting
from ..session import Session, names
from ..table_cells import comparison_columns, milliseconds, ratio, short_columns
from ..workloads import WORKLOADS, Workload, workload_named

TITLE = "Training step"
#: Layers keep their inputs alone.
RECOMPUTING = Setting("firstspike", "each layer under torch's checkpoint", options={"recompute": True})


def measure(session: Session) -> None:
    """One cell per net, number of steps and source of input; with `full`, all sides in one cell per net."""
    record = session.record("steps")
    for workload in WORKLOADS if session.full else WORKLOADS[:2]:
        for steps in workload.steps if session.full else workload.steps[:1]:
            for source in inputs.SOURCES if session.full else inputs.SOURCES[:1]:
                all_sides = session.full and steps == 8 and source == inputs.SOURCES[0]
                chosen = sides(workload, steps, quick=not session.full, others=all_sides)
                times = partial(session.compare, chosen, workload, steps, source=source)
                head = {"work": workload.name, "steps": steps, "source": source, "batch": workload.batch}
                record.measure(f"{workload.name}-T{steps}-{source}", times, **head, settings=names(chosen))


def sides(workload: Workload, steps: int, *, quick: bool = False, others: bool = False) -> dict[str, Setting]:
    """Ours, SpikingJelly, the dense net compiled and eager; with `others`, snnTorch, Norse, and the paper's layers.

    quick: SpikingJelly without torch.compile, which takes too long for the quick form.
    """
    chosen = {
        "firstspike": Setting("firstspike", "eager"),
        "spikingjelly": fastest_setting(workload, steps, "spikingjelly", compiled=False if quick else None),
        FIRES_ONCE: fastest_setting(workload, steps, FIRES_ONCE, compiled=False if quick else None),
        "dense": fastest_setting(workload, steps, "dense", compiled=True),
        "dense eager": fastest_setting(workload, steps, "dense", compiled=False),
    }
    if others:
        for library in ("snntorch", "norse"):
            chosen[library] = Setting(library, "default")
            chosen[f"{library}, compiled"] = Setting(library, "default, compiled", compiled=True)
        normalised = Setting("firstspike", "weight normalisation and affine", options={"paper": True})
        chosen["firstspike, normalised"] = normalised
        chosen["firstspike, recomputing"] = RECOMPUTING
    return chosen


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Ours and the ratios, with targets; then all other sides."""
    lines, others = [], []
    for row in rows:
        targets = workload_named(row["work"]).targets[row["steps"]]
        times = row["times"]
        head = {"net": row["work"], "T": row["steps"], "input": row["source"]}
        lines.append({**head, **comparison_columns(times, targets)})
        others += [
            {**head, "side": side, "setting": setting, "ms": milliseconds(times, side), "ratio": ratio(times, side)}
            for side, setting in row["settings"].items()
            if side != "firstspike" and (side in times or side in row["failures"])
        ]
    return [
        ("Training step, median (quartiles); ratio: times as long as firstspike", pd.DataFrame(lines)),
        ("All sides", pd.DataFrame(others)),
    ]


def summaries(rows: list[dict[str, Any]]) -> dict[str, tuple[str, pd.DataFrame]]:
    """`summary`: all nets on images."""
    caption = "Training step (forward, backward, Adam), median; times as long as firstspike"
    lines = [
        {
            "net": workload_named(row["work"]).spec,
            "T": row["steps"],
            "batch": row["batch"],
            **short_columns(row["times"]),
        }
        for row in rows
        if row["source"] == "fashion-mnist"
    ]
    return {"summary": (caption, pd.DataFrame(lines))}
