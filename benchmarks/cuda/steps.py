"""Training steps of whole nets: ours, the same net as a compiled dense loop, and SpikingJelly's implementations.

Run as `python -m benchmarks.cuda.steps SIDE...`, one process for the sides that can share one; prints a JSON line a cell.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import Any

import torch

from ..inputs import batch
from ..nets import Setting, build, training_step
from ..workloads import CNN, MLP, Workload
from .timing import captured, milliseconds, peak_bytes

BATCH = 512
DEVICE = "cuda"
WORKLOADS = (replace(MLP, batch=BATCH), replace(CNN, batch=BATCH))
STEPS = (8, 64)
SIDES = {
    "firstspike": Setting("firstspike", "eager"),
    "dense, compiled": Setting("dense", "scan, compiled", True, {"neurons": "scan"}),
    "spikingjelly": Setting("spikingjelly", "multi-step"),
}


def cell(side: str, workload: Workload, steps: int) -> dict[str, Any]:
    """Milliseconds of a step, eager and (where it can be captured) replayed, and the memory it takes."""
    torch.manual_seed(0)
    made = batch("uniform", workload.batch, steps, flat=workload is WORKLOADS[0])
    spikes, labels = made.spikes.to(DEVICE), made.labels.to(DEVICE)
    net = build(SIDES[side], workload, steps).to(DEVICE)
    x = spikes if side == "firstspike" else spikes.dense()
    result: dict[str, Any] = {}
    try:
        step = training_step(net, x, labels, capturable=DEVICE == "cuda")
        result["eager"] = milliseconds(step, seconds=1.0).median
        result["bytes"] = peak_bytes(step)
        if side != "firstspike":  # whose layers ask the device for the number of their support entries
            result["graph"] = milliseconds(captured(step), seconds=1.0).median
    except (RuntimeError, ImportError) as error:  # out of memory, or an implementation that cannot be captured
        result["failure"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return result


def main(sides: list[str]) -> None:
    """Measure all nets for these sides."""
    for steps in STEPS:
        for workload in WORKLOADS:
            for side in sides:
                began = time.perf_counter()
                row = {"side": side, "net": workload.name, "steps": steps, **cell(side, workload, steps)}
                print(json.dumps({**row, "seconds": round(time.perf_counter() - began, 1)}), flush=True)
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main(sys.argv[1:])
