"""How the training step grows with the number of steps."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from firstspike.report import figure, line_style, style

from .. import inputs, timing
from ..nets import Setting, build, training_step
from ..records import timed
from ..session import Session
from ..show import milliseconds
from ..works import CNN, MLP, Work
from .steps import sides

TITLE = "Growth with T"
ALL = (4, 8, 16, 32, 64, 128, 254)
#: Largest T of the time-stepped sides: beyond, their memory or minutes run out.
DENSE_UP_TO = {"mlp": 254, "cnn": 64}
OURS = "firstspike alone"


def measure(session: Session) -> None:
    """A cell a net with our step at every T in turns, and one a net and T with the peers."""
    book = session.book("growth")
    for work in (MLP, CNN):
        numbers = ALL if session.full else (4, 8, 64)
        cell = f"{work.name}-ours"
        if not book.has(cell):
            session.say(f"growth {cell}")
            samples = session.alternate({str(steps): _ours(work, steps) for steps in numbers})
            book.add(cell, work=work.name, side=OURS, times=timed(samples))
        for steps in numbers if session.full else ():
            cell = f"{work.name}-T{steps}"
            if steps > DENSE_UP_TO[work.name] or book.has(cell):
                continue
            session.say(f"growth {cell}")
            batch = inputs.batch("fashion-mnist", work.batch, steps, flat=work.flat)
            chosen = {side: s for side, s in sides(work, steps).items() if side != "dense eager"}
            samples, failures = session.compare(
                chosen, work, batch, training_step, timing.Effort(rounds=5, seconds=4.0)
            )
            book.add(
                cell,
                work=work.name,
                steps=steps,
                side="all",
                times=timed(samples),
                failures=failures,
                settings={side: s.name for side, s in chosen.items()},
            )


def _ours(work: Work, steps: int) -> timing.Call:
    batch = inputs.batch("fashion-mnist", work.batch, steps, flat=work.flat)
    return training_step(build(Setting("firstspike", "eager"), work, steps), batch.spikes, batch.labels)


def curves(rows: list[dict[str, Any]], work: str) -> dict[str, dict[int, float]]:
    """Median milliseconds by side and T."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["work"] != work:
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
    for work in ("mlp", "cnn"):
        for side, curve in curves(rows, work).items():
            if side != "firstspike":
                lines += [
                    {
                        "net": work,
                        "T": steps,
                        "side": side,
                        "ms": f"{value:.1f}",
                        "of T = 8": f"{value / curve[8]:.2f}" if 8 in curve else "–",
                    }
                    for steps, value in curve.items()
                ]
    return [("Training step by T", pd.DataFrame(lines))]


def figures(rows: list[dict[str, Any]]) -> dict[str, Figure]:
    """Milliseconds a step over T, both axes logarithmic."""
    drawn, axes = figure(height=2.9, nrows=1, ncols=2)
    names = {"firstspike": "firstspike", "spikingjelly": "SpikingJelly", "dense": "dense torch, compiled"}
    with style():
        for axis, work in zip(axes, (MLP, CNN), strict=True):
            found = curves(rows, work.name)
            for index, (side, label) in enumerate(names.items()):
                if side in found:
                    points = sorted(found[side].items())
                    axis.plot(*zip(*points, strict=True), label=label, **line_style(index).plot())
            axis.set(xscale="log", yscale="log", xlabel="time steps T", title=f"{work.spec}, B = {work.batch}")
            axis.set_xticks(ALL, [str(steps) for steps in ALL])
            axis.minorticks_off()
        axes[0].set_ylabel("training step, ms")
        axes[0].legend()
    return {"growth": drawn}
