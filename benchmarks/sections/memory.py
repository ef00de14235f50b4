"""Memory: bytes kept for backward per neuron and sample, and the peak resident memory of the CNN's step, each side in a
process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F

from tools import ROOT, memory

from .. import inputs, kept_memory
from ..nets import FIRES_ONCE, Setting, build, training_step
from ..nets.ours import Ours
from ..nets.training import feed
from ..session import Session
from ..table_cells import number
from ..workloads import CNN, MLP, WORKLOADS, Workload, workload_named
from .steps import RECOMPUTING, sides

TITLE = "Memory"
STEPS = 64
SAMPLES = 8
#: Training steps before what is kept is counted: with the biases at zero, as they start, fewer neurons are near their
#: threshold.
TRAINED = 5


def measure(session: Session) -> None:
    """One cell per net and T for the bytes kept, and one a side for the peak of a step of the CNN at T = 64."""
    record = session.record("memory")
    for workload in WORKLOADS if session.full else WORKLOADS[:2]:
        for steps in (8, 16, 64, 254) if session.full else (8, 64):
            cell = f"kept-{workload.name}-T{steps}"
            if record.has(cell):
                continue
            session.log(f"memory {cell}")
            record.add(
                cell, kind="kept", work=workload.name, steps=steps, neurons=neurons(workload), **_kept(workload, steps)
            )
    if not memory.is_known():
        session.log("memory: the peak of a process is left out, as there is no /proc/self/status")
        return
    chosen = {side: s for side, s in sides(CNN, STEPS, quick=not session.full).items() if side != FIRES_ONCE}
    for side in chosen if session.full else ("firstspike", "spikingjelly"):
        cell = f"peak-{CNN.name}-T{STEPS}-{side}"
        if record.has(cell):
            continue
        session.log(f"memory {cell}")
        command = [
            sys.executable,
            "-m",
            "benchmarks.peak_memory",
            json.dumps(dataclasses.asdict(chosen[side])),
            CNN.name,
            str(STEPS),
            str(session.threads),
        ]
        done = subprocess.run(command, cwd=ROOT, env=os.environ, check=True, stdout=subprocess.PIPE, text=True)
        record.add(
            cell,
            kind="peak",
            side=side,
            setting=chosen[side].name,
            work=CNN.name,
            steps=STEPS,
            batch=CNN.batch,
            **json.loads(done.stdout),
        )


def neurons(workload: Workload) -> int:
    """Neurons of a net that fire."""
    net = Ours(workload, 8)
    signal, total = inputs.batch("uniform", 1, 8, flat=workload.flat).spikes, 0
    with torch.no_grad():
        for layer in list(net.layers)[:-1]:
            signal = layer(signal)
            total += signal.times.numel()
    return total


def _kept(workload: Workload, steps: int) -> dict[str, Any]:
    """Bytes kept by each side per neuron and sample, as drawn and after some steps of training; no dense side at a large
    T.
    """
    batch = inputs.batch("fashion-mnist", SAMPLES, steps, flat=workload.flat)
    chosen = {"firstspike": Setting("firstspike", "eager"), "recomputing": RECOMPUTING}
    if steps <= STEPS or workload is MLP:
        chosen["spikingjelly"] = Setting("spikingjelly", "multi-step")
        chosen["dense eager"] = Setting("dense", "loop")
    found = {}
    for side, setting in chosen.items():
        net = build(setting, workload, steps)
        x = feed(setting.library, batch)
        known = [*net.parameters(), batch.labels, batch.spikes.times if setting.library == "firstspike" else x]

        def forward(net: torch.nn.Module = net, x: object = x) -> torch.Tensor:
            return F.cross_entropy(net(x), batch.labels)

        def kept(
            forward: Callable[[], torch.Tensor] = forward, known: list[Any] = known, setting: Setting = setting
        ) -> float:
            again = 1 if setting is RECOMPUTING else 0  # the byte that a layer is run on again is kept past autograd
            return again + kept_memory.kept_bytes(forward, known) / SAMPLES / neurons(workload)

        found[side] = {"drawn": kept()}
        step = training_step(net, x, batch.labels)
        for _ in range(TRAINED):
            step()
        found[side]["trained"] = kept()
    return {"samples": SAMPLES, "bytes": found}


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Bytes kept (target: at most 4) and peaks (target: a tenth of SpikingJelly's)."""
    kept = [
        {
            "net": row["work"],
            "T": row["steps"],
            "neurons": row["neurons"],
            **{f"{side}, {when}": number(value) for side, both in row["bytes"].items() for when, value in both.items()},
        }
        for row in rows
        if row["kind"] == "kept"
    ]
    peaks = [row for row in rows if row["kind"] == "peak"]
    ours = next((row for row in peaks if row["side"] == "firstspike"), None)
    lines = [
        {
            "side": row["side"],
            "setting": row["setting"],
            "libraries, MiB": number(row["imports"] / 2**20),
            "peak, MiB": number(row["peak"] / 2**20),
            "over ours": _over(row, ours, "peak"),
            "without libraries, MiB": number((row["peak"] - row["imports"]) / 2**20),
            "over ours ": _over(row, ours, "own"),
        }
        for row in peaks
    ]
    return [
        (
            f"Bytes kept for backward per neuron and sample: as drawn, and after {TRAINED} steps of training",
            pd.DataFrame(kept).fillna("–"),
        ),
        (f"Resident memory of a training step, {CNN.spec}, T = {STEPS}, B = {CNN.batch}", pd.DataFrame(lines)),
    ]


def _over(row: dict[str, Any], ours: dict[str, Any] | None, what: str) -> str:
    if ours is None:
        return "–"
    values = [side["peak"] - (side["imports"] if what == "own" else 0) for side in (row, ours)]
    return f"{values[0] / max(1, values[1]):.1f}x"


def summaries(rows: list[dict[str, Any]]) -> dict[str, tuple[str, pd.DataFrame]]:
    """`summary`: what is kept for the backward pass after some steps of training, and the peak of a process."""
    sides = {"firstspike": "firstspike", "SpikingJelly": "spikingjelly", "dense, eager": "dense eager"}
    lines = [
        {
            "what": "kept for backward, bytes per neuron and sample",
            "net": workload_named(row["work"]).spec,
            "T": row["steps"],
            **{
                name: number(row["bytes"][side]["trained"]) if side in row["bytes"] else "–"
                for name, side in sides.items()
            },
        }
        for row in rows
        if row["kind"] == "kept" and row["steps"] in (8, STEPS) and row["work"] != "wide"
    ]
    peaks = {row["side"]: row["peak"] for row in rows if row["kind"] == "peak"}
    if peaks:
        cells = {name: number(peaks[side] / 2**20) if side in peaks else "–" for name, side in sides.items()}
        lines.append({"what": "training step, peak of the process, MiB", "net": CNN.spec, "T": STEPS, **cells})
    return {"summary": ("Memory", pd.DataFrame(lines))}
