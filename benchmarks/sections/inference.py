"""Inference, at a large batch and a single sample."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from ..nets import Setting, inference
from ..session import Session, names
from ..table_cells import comparison_columns, milliseconds, short_columns
from ..workloads import INFERENCE, WORKLOADS, workload_named
from .steps import sides

TITLE = "Inference"


def measure(session: Session) -> None:
    """One cell per net, batch size and number of steps."""
    record = session.record("inference")
    for workload in WORKLOADS if session.full else WORKLOADS[:1]:
        for steps in (8, 16) if session.full else (8,):
            for size in INFERENCE:
                chosen = sides(workload, steps, quick=not session.full)
                chosen["firstspike frozen"] = Setting("firstspike", "nn.Prepacked", options={"prepacked": True})
                if session.full:
                    chosen |= {f"{side} frozen": chosen[side].frozen() for side in ("spikingjelly", "dense")}
                times = partial(session.compare, chosen, workload, steps, inference, batch=size)
                head = {"work": workload.name, "steps": steps, "batch": size, "settings": names(chosen)}
                record.measure(f"{workload.name}-T{steps}-B{size}", times, **head)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Ours and the ratios, with targets, each library in its faster form; then all sides."""
    lines, others = [], []
    for row in rows:
        head = {"net": row["work"], "T": row["steps"], "B": row["batch"]}
        lines.append({**head, **comparison_columns(_faster_forms(row["times"]), INFERENCE[row["batch"]])})
        others += [
            {**head, "side": side, "setting": row["settings"][side], "ms": milliseconds(row["times"], side)}
            for side in row["settings"]
            if side in row["times"] or side in row["failures"]
        ]
    return [
        ("Inference, Fashion-MNIST, median (quartiles), each side in the faster of its forms", pd.DataFrame(lines)),
        ("All sides", pd.DataFrame(others)),
    ]


def summaries(rows: list[dict[str, Any]]) -> dict[str, tuple[str, pd.DataFrame]]:
    """`summary`: every net at T = 8, one sample and many."""
    lines = [
        {
            "net": workload_named(row["work"]).spec,
            "T": row["steps"],
            "batch": row["batch"],
            **short_columns(_faster_forms(row["times"])),
        }
        for row in rows
        if row["steps"] == 8
    ]
    caption = "Inference, each side in the faster of its forms, median; times as long as firstspike"
    return {"summary": (caption, pd.DataFrame(lines))}


def _faster_forms(times: dict[str, Any]) -> dict[str, Any]:
    """The times with each library's name for the faster of its forms: as it is, and with weights packed beforehand."""
    found = dict(times)
    for side in ("firstspike", "spikingjelly", "dense"):
        forms = [times[name] for name in (side, f"{side} frozen") if name in times]
        if forms:
            found[side] = min(forms, key=lambda time: time["median"])
    return found
