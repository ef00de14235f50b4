"""Inference, at a large batch and a single sample."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .. import inputs
from ..nets import Setting, inference
from ..records import timed
from ..session import Session
from ..table_cells import comparison_columns, milliseconds
from ..workloads import INFERENCE, WORKLOADS
from .steps import sides

TITLE = "Inference"


def measure(session: Session) -> None:
    """One cell a net, batch size and number of steps."""
    record = session.record("inference")
    for workload in WORKLOADS if session.full else WORKLOADS[:1]:
        for steps in (8, 16) if session.full else (8,):
            for size in INFERENCE:
                cell = f"{workload.name}-T{steps}-B{size}"
                if record.has(cell):
                    continue
                session.log(f"inference {cell}")
                batch = inputs.batch("fashion-mnist", size, steps, flat=workload.flat)
                chosen = sides(workload, steps, quick=not session.full)
                chosen["firstspike frozen"] = Setting("firstspike", "nn.Prepacked", options={"frozen": True})
                if session.full:
                    chosen |= {f"{side} frozen": chosen[side].frozen() for side in ("spikingjelly", "dense")}
                samples, failures = session.compare(chosen, workload, batch, lambda net, x, _: inference(net, x))
                record.add(
                    cell,
                    work=workload.name,
                    steps=steps,
                    batch=size,
                    times=timed(samples),
                    failures=failures,
                    settings={side: s.name for side, s in chosen.items()},
                )


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Ours and the ratios, with targets, each library in its faster form; then all sides."""
    lines, others = [], []
    for row in rows:
        head = {"net": row["work"], "T": row["steps"], "B": row["batch"]}
        times = dict(row["times"])
        for side in ("firstspike", "spikingjelly", "dense"):
            forms = [times[name] for name in (side, f"{side} frozen") if name in times]
            if forms:
                times[side] = min(forms, key=lambda time: time["median"])
        lines.append({**head, **comparison_columns(times, INFERENCE[row["batch"]])})
        others += [
            {**head, "side": side, "setting": row["settings"][side], "ms": milliseconds(row["times"], side)}
            for side in row["settings"]
            if side in row["times"] or side in row["failures"]
        ]
    return [
        ("Inference, Fashion-MNIST, median (quartiles), each side in the faster of its forms", pd.DataFrame(lines)),
        ("All sides", pd.DataFrame(others)),
    ]
