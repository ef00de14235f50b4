"""Memory: bytes kept for backward a neuron and sample, and the peak resident memory of the CNN's step, a process a side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F

from .. import inputs, machine, saved
from ..best import best
from ..nets import Setting, build, training_step
from ..nets.ours import Ours
from ..nets.training import feed
from ..session import Session
from ..show import number
from ..works import CNN, MLP, WORKS, Work, named

TITLE = "Memory"
STEPS = 64
#: Side: whether it runs with gradients at all. "idle" builds SpikingJelly's net and batch and makes no step.
SIDES = ("firstspike", "spikingjelly", "dense", "dense eager")
TRAINING_STEPS = 3


def measure(session: Session) -> None:
    """One cell a net and T for the bytes kept, and one a side for the peak of a step of the CNN at T = 64."""
    book = session.book("memory")
    for work in WORKS if session.full else WORKS[:2]:
        for steps in (8, 16, 64, 254) if session.full else (8, 64):
            cell = f"kept-{work.name}-T{steps}"
            if book.has(cell):
                continue
            session.say(f"memory {cell}")
            book.add(cell, kind="kept", work=work.name, steps=steps, neurons=neurons(work), **_kept(work, steps))
    for side in SIDES if session.full else SIDES[:2]:
        cell = f"peak-{CNN.name}-T{STEPS}-{side}"
        if book.has(cell):
            continue
        session.say(f"memory {cell}")
        command = [sys.executable, "-m", "benchmarks.sections.memory", side, CNN.name, str(STEPS), str(session.threads)]
        done = subprocess.run(command, cwd=machine.ROOT, env=os.environ, check=True, stdout=subprocess.PIPE, text=True)
        book.add(cell, kind="peak", side=side, work=CNN.name, steps=STEPS, batch=CNN.batch, **json.loads(done.stdout))


def neurons(work: Work) -> int:
    """Neurons of a net that fire."""
    net = Ours(work, 8)
    signal, total = inputs.batch("uniform", 1, 8, flat="C" not in work.spec).spikes, 0
    with torch.no_grad():
        for layer in list(net.layers)[:-1]:
            signal = layer(signal)
            total += signal.times.numel()
    return total


def _kept(work: Work, steps: int) -> dict[str, Any]:
    """Bytes kept by each side at a small batch, a neuron and sample; a time-stepped side is left out where T is large."""
    size = 8
    batch = inputs.batch("fashion-mnist", size, steps, flat="C" not in work.spec)
    chosen = {"firstspike": Setting("firstspike", "eager")}
    if steps <= STEPS or work is MLP:
        chosen["spikingjelly"] = Setting("spikingjelly", "multi-step")
        chosen["dense eager"] = Setting("dense", "loop")
    found = {}
    for side, setting in chosen.items():
        net = build(setting, work, steps)
        x = feed(setting.library, batch)
        known = [*net.parameters(), batch.spikes.times if setting.library == "firstspike" else x]

        def forward(net: torch.nn.Module = net, x: object = x) -> torch.Tensor:
            return F.cross_entropy(net(x), batch.labels)

        found[side] = saved.kept_bytes(forward, known) / size / neurons(work)  # type: ignore[arg-type]
    return {"batch": size, "bytes": found}


def _setting(side: str, work: Work, steps: int) -> Setting:
    if side == "firstspike":
        return Setting("firstspike", "eager")
    library, _, eager = side.partition(" ")
    return best(work, steps, library, eager=bool(eager))


def main(side: str, name: str, steps: int, threads: int) -> dict[str, Any]:
    """In a process of its own: resident bytes before the first step, and their peak over a few steps."""
    torch.set_num_threads(threads)
    work = named(name)
    setting = _setting(side, work, steps)
    batch = inputs.batch("fashion-mnist", work.batch, steps, flat="C" not in work.spec)
    step = training_step(build(setting, work, steps), feed(setting.library, batch), batch.labels)
    if setting.compiled:
        step()  # the compiler's own memory is not the step's
    before = saved.resident()
    saved.forget_peak()
    for _ in range(TRAINING_STEPS):
        step()
    return {"setting": setting.name, "before": before, "peak": saved.peak_resident()}


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Bytes kept (target: at most 4) and peaks (target: a tenth of SpikingJelly's)."""
    kept = [{"net": row["work"], "T": row["steps"], "neurons": row["neurons"],
             **{side: number(value) for side, value in row["bytes"].items()}} for row in rows if row["kind"] == "kept"]
    peaks = [row for row in rows if row["kind"] == "peak"]
    ours = next((row for row in peaks if row["side"] == "firstspike"), None)
    lines = [{"side": row["side"], "setting": row["setting"], "peak, MiB": number(row["peak"] / 2**20),
              "before the step, MiB": number(row["before"] / 2**20),
              "the step's own, MiB": number((row["peak"] - row["before"]) / 2**20),
              "peak over ours": f"{row['peak'] / ours['peak']:.1f}x" if ours else "–",
              "own over ours": f"{(row['peak'] - row['before']) / max(1, ours['peak'] - ours['before']):.1f}x" if ours else "–"}
             for row in peaks]
    return [("Bytes kept for backward, a neuron and sample", pd.DataFrame(kept).fillna("–")),
            (f"Resident memory of a training step, {CNN.spec}, T = {STEPS}, B = {CNN.batch}", pd.DataFrame(lines))]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
