"""Training steps of whole nets: ours, the same net as a compiled dense loop, and SpikingJelly's implementations.

Run as `python -m benchmarks.cuda.steps SIDE...`, one process for the sides that can share one; prints a JSON line per cell.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import torch

from ..inputs import batch
from ..nets import Setting, build, training_step
from ..workloads import CNN, MLP, Workload
from .timing import milliseconds, peak_bytes

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
    """Milliseconds of a step, and the memory it takes."""
    torch.manual_seed(0)
    made = batch("uniform", workload.batch, steps, flat=workload.flat)
    spikes, labels = made.spikes.to(DEVICE), made.labels.to(DEVICE)
    net = build(SIDES[side], workload, steps).to(DEVICE)
    try:
        step = training_step(net, spikes if side == "firstspike" else spikes.dense(), labels)
        return {"eager": milliseconds(step, seconds=1.0).median, "bytes": peak_bytes(step)}
    except (RuntimeError, ImportError) as error:  # out of memory, or an implementation that is not there
        return {"failure": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}


if __name__ == "__main__":
    for steps in STEPS:
        for workload in WORKLOADS:
            for side in sys.argv[1:]:
                row = {"side": side, "net": workload.name, "steps": steps, **cell(side, workload, steps)}
                print(json.dumps(row), flush=True)
                torch.cuda.empty_cache()
