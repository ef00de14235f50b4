"""Before and after a change: two checkouts, both built in place, take turns on each instruction set that both have.

`python -m benchmarks.run --section builds --before CHECKOUT --name NAME`
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import firstspike
from firstspike import emulator, provenance
from tools import ROOT

from .. import inputs, thresholds, timing
from ..kernels import LayerCalls
from ..nets import inference, training_step
from ..nets.ours import Ours
from ..nets.windows import images_of, net_of
from ..records import timed
from ..session import Session
from ..table_cells import milliseconds
from ..timing import speedup
from ..workloads import CNN, MLP, WIDE, Workload
from . import integers, limit

TITLE = "Before and after a change"
ROUNDS, LEAST = 15, 5  # samples of a side, and calls in a sample
NO_POOLING = Workload("no pooling", "32C3-64C3-10", 64, {})


def calls() -> dict[str, Callable[[], timing.Call]]:
    """What is timed, by name: each makes its call, on one thread."""
    found: dict[str, Callable[[], timing.Call]] = {}
    for workload, steps in ((CNN, 8), (CNN, 16), (WIDE, 8), (NO_POOLING, 8)):
        found[f"dL/dW, {workload.name}, T = {steps}"] = partial(_weight_gradient, workload, steps)
    for steps in (8, 16):
        found[f"dL/dW, RGB, T = {steps}"] = partial(thresholds.weight_gradient, 3, 32, 3, steps)
    for steps in (8, 16):
        found[f"dL/ds, mlp, T = {steps}"] = partial(_input_gradient, MLP, steps)
    for workload, steps in ((MLP, 8), (MLP, 16), (CNN, 8), (CNN, 16), (WIDE, 8)):
        found[f"training step, {workload.name}, T = {steps}"] = partial(_training, workload, steps)
    found["training step, mlp of windows, T = 16"] = partial(_training_of_windows, MLP, 16)
    for workload in (MLP, CNN, WIDE):
        found[f"integers, {workload.name}, batch 256"] = partial(_integers, workload, 256)
    return found


def _weight_gradient(workload: Workload, steps: int) -> timing.Call:
    _, (layer, x, _), *_ = limit.layers(workload, steps)
    return LayerCalls.of(layer, x).weight_gradient()


def _input_gradient(workload: Workload, steps: int) -> timing.Call:
    _, (layer, x, _), *_ = limit.layers(workload, steps)
    return LayerCalls.of(layer, x).input_gradient()


def _training(workload: Workload, steps: int) -> timing.Call:
    batch = inputs.batch("fashion-mnist", workload.batch, steps, flat=workload.flat)
    return training_step(Ours(workload, steps), batch.spikes, batch.labels)


def _training_of_windows(workload: Workload, steps: int) -> timing.Call:
    return training_step(net_of(workload, steps), *images_of(workload.batch, workload))


def _integers(workload: Workload, size: int) -> timing.Call:
    net = emulator.IntegerNet(emulator.quantize(net_of(workload, integers.STEPS).eval()))
    return inference(net, images_of(size, workload)[0])


def measure(session: Session) -> None:
    """One cell per call and instruction set; nothing without `session.before`."""
    if session.before is None:
        print("builds: give --before CHECKOUT, built in place", file=sys.stderr)
        return
    torch.set_num_threads(1)
    record = session.record("builds")
    checkouts = {"before": session.before, "after": ROOT}
    commits = {side: str(provenance.commit(path, ("python", "cpp")))[:12] for side, path in checkouts.items()}
    for name in firstspike.backends()["cpu"]["available"]:
        if any(session.before.glob(f"python/firstspike/_base/_cpu_{name}.*")):
            for what in calls():
                make = partial(_in_turns, checkouts, name, what)
                record.measure(f"{what}, {name}", make, what=what, set=name, commits=commits)


def _in_turns(checkouts: dict[str, Path], instruction_set: str, what: str) -> dict[str, Any]:
    samples: dict[str, list[float]] = {side: [] for side in checkouts}
    with ExitStack() as stack:
        asks = {side: stack.enter_context(_process(path, instruction_set, what)) for side, path in checkouts.items()}
        for index in range(ROUNDS):
            for side in list(samples)[:: 1 if index % 2 else -1]:
                samples[side].append(asks[side]())
    return {"times": timed(samples)}


@contextmanager
def _process(checkout: Path, instruction_set: str, what: str) -> Iterator[Callable[[], float]]:
    """Asks a process with this checkout's package for seconds per call."""
    paths = os.pathsep.join([str(checkout / "python"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "FIRSTSPIKE_ISA": instruction_set, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, what]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        given, made = process.stdin, process.stdout

        def ask() -> float:
            print(file=given, flush=True)
            return float(made.readline())

        yield ask


def answer(what: str) -> None:
    """For each line that comes in, time a call and print its seconds of processor time."""
    torch.set_num_threads(1)
    call = calls()[what]()
    _, number = timing.calls_of(call, timing.FULL)
    gc.disable()
    for _ in sys.stdin:
        call()
        began = time.process_time()
        for _ in range(max(number, LEAST)):
            call()
        print((time.process_time() - began) / max(number, LEAST), flush=True)
        gc.collect()


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Both sides on each instruction set, and the time after over the time before."""
    lines = []
    for row in rows:
        times = row["times"]
        lines.append(
            {
                "what": row["what"],
                "instruction set": row["set"],
                "before, ms": milliseconds(times, "before"),
                "after, ms": milliseconds(times, "after"),
                "after / before": f"{speedup(times['after']['samples'], times['before']['samples']):.2f}",
            }
        )
    pairs = dict.fromkeys("before: {before}, after: {after}".format(**row["commits"]) for row in rows)
    return [(f"Processor time of one thread, median (quartiles), in turns; {'; '.join(pairs)}", pd.DataFrame(lines))]


if __name__ == "__main__":
    answer(sys.argv[1])
