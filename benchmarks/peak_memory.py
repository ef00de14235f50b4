"""Resident memory of a training step, in a process of its own that imports no more than the step needs.

`python -m benchmarks.peak_memory SETTING WORKLOAD STEPS THREADS` prints JSON; SETTING is a `nets.Setting` as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from tools import memory

from . import inputs
from .nets import Setting, build, training_step
from .nets.training import feed
from .workloads import workload_named

TRAINING_STEPS = 2


def main(setting: Setting, name: str, steps: int, threads: int) -> dict[str, Any]:
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
    for _ in range(TRAINING_STEPS):
        step()
    return {"imports": imports, "before": before, "peak": memory.peak_resident()}


if __name__ == "__main__":
    print(json.dumps(main(Setting(**json.loads(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
