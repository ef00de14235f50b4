"""Threads: one against two, what more would give, and whether our kernels and torch's products disturb each other."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import torch

from firstspike import inspect, nn

from .. import inputs, timing
from ..nets import Setting, build, inference, training_step
from ..records import timed
from ..session import Session
from ..table_cells import milliseconds
from ..workloads import CNN, WORKLOADS, Workload

TITLE = "Threads"
GEMM = 768  # a product of about the length of a layer call
MANY = 16  # threads of a larger machine, of which the work is counted
PASSES = ("forward", "input_gradient", "weight_gradient")


def measure(session: Session) -> None:
    """A cell a net with its step on one thread and on all, in turns, and one with its tasks; one with products and layers."""
    record = session.record("threads")
    for workload in WORKLOADS if session.full else (CNN,):
        counted = partial(_tasks, workload)
        record.measure(f"{workload.name}-tasks", counted, work=workload.name, kind="tasks", steps=8)
        for kind in ("training", "inference"):
            times = partial(_times, session, workload, kind)
            record.measure(f"{workload.name}-{kind}", times, work=workload.name, kind=kind, steps=8)
    record.measure("pools", lambda: {"times": timed(_pools(session))}, work=CNN.name, kind="pools", steps=8)


def _times(session: Session, workload: Workload, kind: str) -> dict[str, Any]:
    sides = {str(n): _with_threads(n, _call(workload, kind)) for n in (1, session.threads)}
    found = session.alternate(sides)
    torch.set_num_threads(session.threads)  # which the record names, not the last side's
    return {"times": found}


def _tasks(workload: Workload) -> dict[str, Any]:
    """Per layer the tasks of its passes with `MANY` threads, and the bytes of its weight, which all of them read."""
    batch = inputs.batch("fashion-mnist", workload.batch, 8, flat=workload.flat)
    net = build(Setting("firstspike", "eager"), workload, 8)
    found: list[dict[str, Any]] = []

    def count(layer: Any, given: tuple[Any, ...], _: object) -> None:
        plan = inspect.explain(layer, given[0], threads=MANY)
        tasks = {name: int(getattr(plan, name)["tasks"]) for name in PASSES}
        found.append({"layer": type(layer).__name__, "weight_bytes": layer.weight.nbytes, **tasks})

    layers = [layer for layer in net.modules() if isinstance(layer, nn.TTFSLinear | nn.TTFSConv2d | nn.Integrate)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    net(batch.spikes)
    for hook in hooks:
        hook.remove()
    return {"layers": found}


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
    """Scaling (target: 1.7 on the CNN), with Amdahl's bound; tasks; the two pools in turns as a multiple of alone (target: 1)."""
    scaling, pools, tasks = [], [], []
    for row in rows:
        if row["kind"] == "tasks":
            tasks += [_shares(row["work"], layer) for layer in row["layers"]]
        elif row["kind"] == "pools":
            times = row["times"]
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
            times = row["times"]
            most = max(times, key=int)
            faster = times["1"]["median"] / times[most]["median"]
            alone = max(0.0, (int(most) / faster - 1) / (int(most) - 1))
            scaling.append(
                {
                    "net": row["work"],
                    "what": row["kind"],
                    "1 thread, ms": milliseconds(times, "1"),
                    f"{most} threads, ms": milliseconds(times, most),
                    "faster": f"{faster:.2f}x",
                    "share that does not scale": f"{100 * alone:.0f} %",
                    f"{MANY} threads, at most": f"{1 / (alone + (1 - alone) / MANY):.1f}x",
                }
            )
    made = [("firstspike by threads, T = 8; the last columns by Amdahl's law", pd.DataFrame(scaling))]
    if tasks:
        title = f"Tasks of each pass with {MANY} threads; behind them, the share of the threads' time that they fill"
        made.append((title, pd.DataFrame(tasks)))
    title = f"torch.mm of {GEMM} x {GEMM} and the CNN's inference, alone and in turns"
    return [*made, (title, pd.DataFrame(pools))]


def _shares(net: str, layer: dict[str, Any]) -> dict[str, Any]:
    """A layer's row: tasks of equal length fill whole rounds of the threads but the last."""
    shown = {"net": net, "layer": layer["layer"], "weight, KiB": round(layer["weight_bytes"] / 1024)}
    for name in PASSES:
        tasks = layer[name]
        shown[name.replace("_", " ")] = f"{tasks} ({100 * tasks / (MANY * -(-tasks // MANY)):.0f} %)"
    return shown
