"""Resident memory of a training step, in a process of its own that imports no more than the step needs.

`python -m benchmarks.resident SETTING WORK STEPS THREADS` prints JSON; SETTING is a `nets.Setting` as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from . import inputs, saved
from .nets import Setting, build, training_step
from .nets.training import feed
from .works import named

TRAINING_STEPS = 2


def main(setting: Setting, name: str, steps: int, threads: int) -> dict[str, Any]:
    """Bytes: `imports`, in memory with all libraries loaded and nothing made; `before` the steps; `peak` over them."""
    torch.set_num_threads(threads)
    work = named(name)
    # Imports the library, and what torch's optimizer imports.
    training_step(build(setting, work, 1), None, torch.empty(0))
    imports = saved.resident()
    batch = inputs.batch("fashion-mnist", work.batch, steps, flat=work.flat)
    step = training_step(build(setting, work, steps), feed(setting.library, batch), batch.labels)
    step()  # allocates the optimizer's moments; under torch.compile, it compiles, whose memory is not the step's
    before = saved.resident()
    saved.forget_peak()
    for _ in range(TRAINING_STEPS):
        step()
    return {"imports": imports, "before": before, "peak": saved.peak_resident()}


if __name__ == "__main__":
    print(json.dumps(main(Setting(**json.loads(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
