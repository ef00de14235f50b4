"""Threads: one against two, and whether our kernels and torch's products disturb each other."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import torch

from .. import inputs, timing
from ..nets import Setting, build, inference, training_step
from ..records import timed
from ..session import Session
from ..table_cells import milliseconds
from ..workloads import CNN, WORKLOADS, Workload

TITLE = "Threads"
GEMM = 768  # a product of about the length of a layer call


def measure(session: Session) -> None:
    """A cell a net with its step on one thread and on all, in turns; one cell with products and layers in turns."""
    record = session.record("threads")
    for workload in WORKLOADS if session.full else (CNN,):
        for kind in ("training", "inference"):
            times = partial(_times, session, workload, kind)
            record.measure(f"{workload.name}-{kind}", times, work=workload.name, kind=kind, steps=8)
    record.measure("pools", lambda: {"times": timed(_pools(session))}, work=CNN.name, kind="pools", steps=8)


def _times(session: Session, workload: Workload, kind: str) -> dict[str, Any]:
    sides = {str(n): _with_threads(n, _call(workload, kind)) for n in (1, session.threads)}
    found = session.alternate(sides)
    torch.set_num_threads(session.threads)  # which the record names, not the last side's
    return {"times": found}


def _call(workload: Workload, kind: str) -> timing.Call:
    batch = inputs.batch("fashion-mnist", workload.batch, 8, flat=workload.flat)
    net = build(Setting("firstspike", "eager"), workload, 8)
    return inference(net, batch.spikes) if kind == "inference" else training_step(net, batch.spikes, batch.labels)


def _with_threads(number: int, call: timing.Call) -> timing.Call:
    """The call on so many threads; a sample is a block of calls, so that setting the number costs nothing."""

    def run() -> None:
        if torch.get_num_threads() != number:
            torch.set_num_threads(number)
        call()

    return run


def _pools(session: Session) -> dict[str, list[float]]:
    """Seconds of a product and of a layer call: each alone, many in a row, and each when the two take turns."""
    torch.set_num_threads(session.threads)
    a, b = torch.randn(GEMM, GEMM), torch.randn(GEMM, GEMM)
    out = torch.empty(GEMM, GEMM)
    product, layer = (lambda: torch.mm(a, b, out=out)), _call(CNN, "inference")
    rounds, row = (40, 10) if session.full else (5, 5)
    samples: dict[str, list[float]] = {}
    for index in range(rounds + 1):
        session.neighbours.bring()
        sample = {"product alone": timing.once(product, row), "layers alone": timing.once(layer, row)}
        mixed = [(timing.once(product), timing.once(layer)) for _ in range(row)]
        sample["product in turns"], sample["layers in turns"] = (sum(side) / row for side in zip(*mixed, strict=True))
        if index:  # the first round warms up
            for name, seconds in sample.items():
                samples.setdefault(name, []).append(seconds)
    return samples


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Scaling (target: 1.7 on the CNN); the two pools in turns as a multiple of alone (target: 1)."""
    scaling, pools = [], []
    for row in rows:
        times = row["times"]
        if row["kind"] == "pools":
            pools = [
                {
                    "what": what,
                    "alone, ms": milliseconds(times, f"{what} alone"),
                    "in turns, ms": milliseconds(times, f"{what} in turns"),
                    "in turns / alone": f"{times[f'{what} in turns']['median'] / times[f'{what} alone']['median']:.2f}",
                }
                for what in ("product", "layers")
            ]
        else:
            most = max(times, key=int)
            scaling.append(
                {
                    "net": row["work"],
                    "what": row["kind"],
                    "1 thread, ms": milliseconds(times, "1"),
                    f"{most} threads, ms": milliseconds(times, most),
                    "faster": f"{times['1']['median'] / times[most]['median']:.2f}x",
                }
            )
    return [
        ("firstspike by threads, T = 8", pd.DataFrame(scaling)),
        (f"torch.mm of {GEMM} x {GEMM} and the CNN's inference, alone and in turns", pd.DataFrame(pools)),
    ]
