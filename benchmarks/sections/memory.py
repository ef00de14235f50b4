"""Memory: bytes kept for backward per neuron and sample, and the peak resident memory of the CNN's step.

Each side's peak is measured in a process that imports no more than the step needs:
`python -m benchmarks.sections.memory SETTING WORKLOAD STEPS THREADS` prints JSON; SETTING is a `nets.Setting` as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tools import ROOT, memory

from .. import inputs
from ..nets import FIRES_ONCE, Setting, build, training_step
from ..nets.training import feed
from ..workloads import CNN, MLP, WORKLOADS, Workload, workload_named

TITLE = "Memory"
STEPS = 64
SAMPLES = 8
#: Training steps before the kept bytes are counted: with the biases at zero, as they start, fewer neurons are near their
#: threshold.
TRAINED = 5


def measure(session: Any) -> None:
    """One cell per net and T for the bytes kept, and one per side for the peak of a step of the CNN at T = 64."""
    from .steps import sides

    record = session.record("memory")
    for workload in WORKLOADS if session.full else WORKLOADS[:2]:
        for steps in (8, 16, 64, 254) if session.full else (8, 64):
            head = {"kind": "kept", "work": workload.name, "steps": steps, "neurons": neurons(workload)}
            record.measure(f"kept-{workload.name}-T{steps}", partial(_kept, workload, steps), **head)
    if not memory.is_known():
        print("memory: the peak of a process is left out, as there is no /proc/self/status", file=sys.stderr)
        return
    chosen = {side: s for side, s in sides(CNN, STEPS, quick=not session.full).items() if side != FIRES_ONCE}
    for side in chosen if session.full else ("firstspike", "spikingjelly"):
        head = {"kind": "peak", "side": side, "setting": chosen[side].name, "work": CNN.name, "batch": CNN.batch}
        make = partial(_peak_elsewhere, chosen[side], session.threads)
        record.measure(f"peak-{CNN.name}-T{STEPS}-{side}", make, **head, steps=STEPS)


def _peak_elsewhere(setting: Setting, threads: int) -> dict[str, Any]:
    asked = [json.dumps(dataclasses.asdict(setting)), CNN.name, str(STEPS), str(threads)]
    command = [sys.executable, "-m", "benchmarks.sections.memory", *asked]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peak(setting: Setting, name: str, steps: int, threads: int) -> dict[str, Any]:
    """Bytes: `imports`, in memory with all libraries loaded and nothing made; `before` the steps; `peak` over them."""
    torch.set_num_threads(threads)
    workload = workload_named(name)
    # Imports the library, and what torch's optimizer imports.
    training_step(build(setting, workload, 1), None, torch.empty(0))
    imports = memory.resident()
    batch = inputs.batch("fashion-mnist", workload.batch, steps, flat=workload.flat)
    step = training_step(build(setting, workload, steps), feed(setting.library, batch), batch.labels)
    step()  # allocates the optimizer's moments; under torch.compile, it compiles, whose memory is not the step's
    before = memory.resident()
    memory.reset_peak()
    for _ in range(2):
        step()
    return {"imports": imports, "before": before, "peak": memory.peak_resident()}


def neurons(workload: Workload) -> int:
    """Neurons of a net that fire."""
    net: Any = build(Setting("firstspike", "eager"), workload, 8)
    signal, total = inputs.batch("uniform", 1, 8, flat=workload.flat).spikes, 0
    with torch.no_grad():
        for layer in list(net.layers)[:-1]:
            signal = layer(signal)
            total += signal.times.numel()
    return total


def kept_bytes(forward: Callable[[], Tensor], known: Iterable[Tensor]) -> int:
    """Bytes that the graph of `forward` keeps for its backward pass; each storage counts once.

    known: tensors that would be there anyway (parameters, the input); their storages do not count. Tensors that an
    operator keeps count with their complete storage, which stays in memory.
    """
    storages: dict[int, int] = {}
    held = []  # the storages, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        held.append(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    there = {tensor.untyped_storage().data_ptr() for tensor in known}
    return sum(size for address, size in storages.items() if address not in there)


def _kept(workload: Workload, steps: int) -> dict[str, Any]:
    """Bytes kept by each side per neuron and sample, as drawn and after some steps of training; no dense side at a large T."""
    from .steps import RECOMPUTING

    batch = inputs.batch("fashion-mnist", SAMPLES, steps, flat=workload.flat)
    chosen = {"firstspike": Setting("firstspike", "eager"), "recomputing": RECOMPUTING}
    if steps <= STEPS or workload is MLP:
        chosen["spikingjelly"] = Setting("spikingjelly", "multi-step")
        chosen["dense eager"] = Setting("dense", "loop")
    found: dict[str, dict[str, float]] = {}
    for side, setting in chosen.items():
        net = build(setting, workload, steps)
        x: Any = feed(setting.library, batch)
        known = [*net.parameters(), batch.labels, batch.spikes.times if setting.library == "firstspike" else x]
        step, found[side] = training_step(net, x, batch.labels), {}
        for when, trained in (("drawn", 0), ("trained", TRAINED)):
            for _ in range(trained):
                step()
            kept = kept_bytes(lambda net=net, x=x: F.cross_entropy(net(x), batch.labels), known)  # type: ignore[misc]
            again = 1 if setting is RECOMPUTING else 0  # the input byte of a recomputed layer is kept past autograd
            found[side][when] = again + kept / SAMPLES / neurons(workload)
    return {"samples": SAMPLES, "bytes": found}


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Bytes kept (target: at most 4) and peaks (target: a tenth of SpikingJelly's)."""
    import pandas as pd

    from ..table_cells import number

    kept = [
        {"net": row["work"], "T": row["steps"], "neurons": row["neurons"]}
        | {f"{side}, {when}": number(value) for side, both in row["bytes"].items() for when, value in both.items()}
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
            "over ours": _over(row, ours, own=False),
            "without libraries, MiB": number((row["peak"] - row["imports"]) / 2**20),
            "over ours ": _over(row, ours, own=True),
        }
        for row in peaks
    ]
    caption = f"Bytes kept for backward per neuron and sample: as drawn, and after {TRAINED} steps of training"
    return [
        (caption, pd.DataFrame(kept).fillna("–")),
        (f"Resident memory of a training step, {CNN.spec}, T = {STEPS}, B = {CNN.batch}", pd.DataFrame(lines)),
    ]


def _over(row: dict[str, Any], ours: dict[str, Any] | None, *, own: bool) -> str:
    if ours is None:
        return "–"
    theirs, least = (side["peak"] - own * side["imports"] for side in (row, ours))
    return f"{theirs / max(1, least):.1f}x"


def summaries(rows: list[dict[str, Any]]) -> dict[str, tuple[str, Any]]:
    """`summary`: what is kept for the backward pass after some steps of training, and the peak of a process."""
    import pandas as pd

    from ..table_cells import number

    sides = {"firstspike": "firstspike", "SpikingJelly": "spikingjelly", "dense, eager": "dense eager"}
    what = "kept for backward, bytes per neuron and sample"
    lines = [
        {"what": what, "net": workload_named(row["work"]).spec, "T": row["steps"]}
        | {name: number(row["bytes"][s]["trained"]) if s in row["bytes"] else "–" for name, s in sides.items()}
        for row in rows
        if row["kind"] == "kept" and row["steps"] in (8, STEPS) and row["work"] != "wide"
    ]
    peaks = {row["side"]: row["peak"] for row in rows if row["kind"] == "peak"}
    if peaks:
        cells = {name: number(peaks[side] / 2**20) if side in peaks else "–" for name, side in sides.items()}
        lines.append({"what": "training step, peak of the process, MiB", "net": CNN.spec, "T": STEPS, **cells})
    return {"summary": ("Memory", pd.DataFrame(lines))}


if __name__ == "__main__":
    print(json.dumps(peak(Setting(**json.loads(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
