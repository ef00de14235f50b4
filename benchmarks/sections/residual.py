"""A residual net beside its plain counterpart: what the shortcuts' own additions cost, in training and inference."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from .. import inputs
from ..nets import inference, training_step
from ..nets.ours import Ours
from ..session import Session
from ..table_cells import milliseconds, ratio
from ..workloads import Workload

TITLE = "Residual nets"
STEPS = 8
#: The same layers with and without a shortcut, and the batch.
NETS = {
    "32C3-AP2-32C3-32C3-AP2-10": ("32C3-AP2-R(32C3-32C3)-AP2-10", 64),
    "64C3-AP2-64C3-64C3-AP2-128-10": ("64C3-AP2-R(64C3-64C3)-AP2-128-10", 32),
}
PLAIN, RESIDUAL = "plain", "residual"


def measure(session: Session) -> None:
    """One cell per net and kind of call."""
    record = session.record("residual")
    for plain, (residual, size) in NETS.items() if session.full else list(NETS.items())[:1]:
        batch = inputs.batch("fashion-mnist", size, STEPS, flat=False)
        nets = {side: Ours(Workload(side, spec, size, {}), STEPS) for side, spec in ((PLAIN, plain), (RESIDUAL, residual))}
        for kind in ("training", "inference"):
            head = {"nets": {PLAIN: plain, RESIDUAL: residual}, "steps": STEPS, "batch": size, "kind": kind}
            record.measure(f"{residual}-{kind}", partial(_times, session, nets, batch, kind), **head)


def _times(session: Session, nets: dict[str, Ours], batch: inputs.Batch, kind: str) -> dict[str, Any]:
    make: Any = training_step if kind == "training" else inference
    return {"times": session.alternate({side: make(net, batch.spikes, batch.labels) for side, net in nets.items()})}


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Milliseconds of both, and the ratio."""
    lines = [
        {
            "net": row["nets"][RESIDUAL],
            "batch": row["batch"],
            "what": row["kind"],
            "plain, ms": milliseconds(row["times"], PLAIN),
            "residual, ms": milliseconds(row["times"], RESIDUAL),
            "residual, times as long": ratio(row["times"], RESIDUAL, PLAIN),
        }
        for row in rows
    ]
    return [(f"firstspike with and without shortcuts, T = {STEPS}, median (quartiles)", pd.DataFrame(lines))]
