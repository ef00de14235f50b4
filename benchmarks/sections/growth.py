"""How the training step grows with the number of steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from firstspike.report import figure, line_style, style

from .. import inputs, timing
from ..nets import Setting, build, training_step
from ..session import Session, names
from ..table_cells import milliseconds
from ..workloads import CNN, MLP, Workload
from .steps import sides

TITLE = "Growth with T"
ALL = (4, 8, 16, 32, 64, 128, 254)
#: Largest T of the time-stepped sides: beyond, their memory or minutes run out.
DENSE_UP_TO = {"mlp": 254, "cnn": 64}
OURS = "firstspike alone"


def measure(session: Session) -> None:
    """A cell a net with our step at every T in turns, and one a net and T with the peers."""
    record = session.record("growth")
    for workload in (MLP, CNN):
        numbers = ALL if session.full else (4, 8, 64)
        record.measure(f"{workload.name}-ours", partial(_alone, session, workload, numbers), work=workload.name, side=OURS)
        for steps in numbers if session.full else ():
            if steps <= DENSE_UP_TO[workload.name]:
                found = sides(workload, steps)
                chosen = {side: found[side] for side in ("firstspike", "spikingjelly", "dense")}
                beside = partial(session.compare, chosen, workload, steps, effort=timing.Effort(rounds=5, seconds=4.0))
                head = {"work": workload.name, "steps": steps, "side": "all", "settings": names(chosen)}
                record.measure(f"{workload.name}-T{steps}", beside, **head)


def _alone(session: Session, workload: Workload, numbers: tuple[int, ...]) -> dict[str, Any]:
    return {"times": session.alternate({str(steps): _ours(workload, steps) for steps in numbers})}


def _ours(workload: Workload, steps: int) -> timing.Call:
    batch = inputs.batch("fashion-mnist", workload.batch, steps, flat=workload.flat)
    return training_step(build(Setting("firstspike", "eager"), workload, steps), batch.spikes, batch.labels)


def curves(rows: list[dict[str, Any]], workload: str) -> dict[str, dict[int, float]]:
    """Median milliseconds by side and T."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["work"] != workload:
            continue
        if row["side"] == OURS:
            found["firstspike"] = {int(steps): time["median"] for steps, time in row["times"].items()}
        else:
            for side, time in row["times"].items():
                if side != "firstspike":
                    found.setdefault(side, {})[row["steps"]] = time["median"]
    return found


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Our step at each T, and as a multiple of T = 8 (target: T = 64 at most 1.5); then the peers'."""
    lines = []
    for row in rows:
        if row["side"] == OURS:
            base = row["times"]["8"]["median"]
            lines += [
                {
                    "net": row["work"],
                    "T": int(steps),
                    "side": "firstspike",
                    "ms": milliseconds(row["times"], steps),
                    "of T = 8": f"{time['median'] / base:.2f}",
                }
                for steps, time in row["times"].items()
            ]
    for workload in ("mlp", "cnn"):
        for side, curve in curves(rows, workload).items():
            if side != "firstspike":
                lines += [
                    {
                        "net": workload,
                        "T": steps,
                        "side": side,
                        "ms": f"{value:.1f}",
                        "of T = 8": f"{value / curve[8]:.2f}" if 8 in curve else "–",
                    }
                    for steps, value in curve.items()
                ]
    return [("Training step by T", pd.DataFrame(lines))]


def figures(rows: list[dict[str, Any]]) -> dict[str, Figure]:
    """Milliseconds per step over T, both axes logarithmic."""
    drawn, axes = figure(height=2.9, nrows=1, ncols=2)
    names = {"firstspike": "firstspike", "spikingjelly": "SpikingJelly", "dense": "dense torch, compiled"}
    with style():
        for axis, workload in zip(axes, (MLP, CNN), strict=True):
            found = curves(rows, workload.name)
            for index, (side, label) in enumerate(names.items()):
                if side in found:
                    points = sorted(found[side].items())
                    axis.plot(*zip(*points, strict=True), label=label, **line_style(index).plot())
            axis.set(xscale="log", yscale="log", xlabel="time steps T", title=f"{workload.spec}, B = {workload.batch}")
            axis.set_xticks(ALL, [str(steps) for steps in ALL])
            axis.minorticks_off()
        axes[0].set_ylabel("training step, ms")
        axes[0].legend()
    return {"growth": drawn}
