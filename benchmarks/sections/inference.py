"""Inference, at a large batch and a single sample."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .. import inputs
from ..nets import inference
from ..records import timed
from ..session import Session
from ..show import beside
from ..works import INFERENCE, WORKS
from .steps import sides

TITLE = "Inference"


def measure(session: Session) -> None:
    """One cell a net, batch size and number of steps."""
    book = session.book("inference")
    for work in WORKS if session.full else WORKS[:1]:
        for steps in (8, 16) if session.full else (8,):
            for size in INFERENCE:
                cell = f"{work.name}-T{steps}-B{size}"
                if book.has(cell):
                    continue
                session.say(f"inference {cell}")
                batch = inputs.batch("fashion-mnist", size, steps, flat=work.flat)
                chosen = sides(work, steps, quick=not session.full)
                samples, failures = session.compare(chosen, work, batch, lambda net, x, _: inference(net, x))
                book.add(
                    cell,
                    work=work.name,
                    steps=steps,
                    batch=size,
                    times=timed(samples),
                    failures=failures,
                    settings={side: s.name for side, s in chosen.items()},
                )


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Ours and the ratios, with targets."""
    lines = []
    for row in rows:
        targets = INFERENCE[row["batch"]]
        lines.append({"net": row["work"], "T": row["steps"], "B": row["batch"], **beside(row["times"], targets)})
    return [("Inference, Fashion-MNIST, median (quartiles)", pd.DataFrame(lines))]
