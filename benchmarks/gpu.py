"""Everything on a device in one command: check against the CPU, time, compare.

    python -m benchmarks.gpu [--minutes 8] [--results FOLDER]

Nets of windows run on every device of torch; they come first. Then the kernels of step-by-step nets are built, with CUDA alone.
Prints tables and writes benchmarks/results/gpu/*.json with the card's name. Exits with 2 and the reason where nothing can
be run. SpikingJelly is compared where it is installed (its wheel can be put on PYTHONPATH). No record is committed yet:
nothing here has been run on a device.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tools import ROOT

from .cuda.build import build, obstacle
from .records import RESULTS, SectionRecord

JELLY = ("auto", "cuda", "triton", "torch")  # values of SpikingJelly's environment variable
CHECKS = "tests/cuda/test_device.py"


def main(arguments: list[str] | None = None) -> int:
    """Run all; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="no new measurement begins later (default: 8)")
    parser.add_argument("--results", type=Path, default=RESULTS / "gpu", help="folder of the records")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    if not options.inside:
        windows, reason = _windows(options.results, 30 * options.minutes), obstacle()
        if reason is not None:
            print(f"The kernels of step-by-step nets were not run: {reason}. Their tests on the processor need no device:\n"
                  "    pytest tests/cuda", file=sys.stderr)  # fmt: skip
            return 0 if windows else 2
        return _build_and_start_again(options, deadline)
    if subprocess.run([sys.executable, "-m", "pytest", "-q", CHECKS], cwd=ROOT).returncode:
        print("The checks failed: nothing is timed.", file=sys.stderr)
        return 1
    _kernels(SectionRecord(options.results, "kernels", resume=False), deadline - 60 * options.minutes / 2)
    _steps(SectionRecord(options.results, "steps", resume=False), deadline)
    return 0


def _windows(results: Path, seconds: float) -> bool:
    """Measure nets of windows on the device that torch sees; False where it sees none."""
    import torch

    device = torch.accelerator.current_accelerator()
    if device is None:
        print("Nothing of windows was run: torch sees no device.", file=sys.stderr)
        return False
    card = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    record = SectionRecord(results, "windows", resume=False)
    for row in _rows("benchmarks.cuda.windows", device.type, {}, seconds):
        record.add(row["net"], device=card, **row)
        shares = ", ".join(f"{name} {value:.3g}" for name, value in row["agreement"].items())
        print(f"{row['net']:5} of windows, T={row['steps']}, beside the CPU: {shares}")
        for name, took in row["milliseconds"].items():
            print(f"{row['net']:5} {name:30} {took:8.3f} ms")
    return True


def _build_and_start_again(options: argparse.Namespace, deadline: float) -> int:
    import torch

    site = build("".join(map(str, torch.cuda.get_device_capability())))
    left = (deadline - time.monotonic()) / 60
    command = [sys.executable, "-m", "benchmarks.gpu", "--inside", "--minutes", f"{left:.2f}"]
    command += ["--results", str(options.results.resolve())]
    paths = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}).returncode


def _kernels(record: SectionRecord, deadline: float) -> None:
    """Each kernel beside its floor."""
    import torch

    from .cuda import kernels
    from .cuda.timing import ceilings, milliseconds

    card, limits = torch.cuda.get_device_name(), ceilings()
    record.add("ceilings", device=card, **limits)
    print(f"{card}: " + ", ".join(f"{name} {value:.3g}/s" for name, value in limits.items()))
    for group in (kernels.neurons, kernels.layers):
        for case in group():
            if time.monotonic() > deadline:
                print("the time is up for kernels")
                return
            took, floor = milliseconds(case.call, seconds=0.15), case.floor(limits)
            share = floor / took.median
            record.add(case.name, device=card, milliseconds=took.median, low=took.low, high=took.high, floor=floor)
            print(f"{case.name:40}{took.median:9.4f} ms  {100 * share:5.1f} % of the limit")


def _steps(record: SectionRecord, deadline: float) -> None:
    """Training steps, each library in a separate process; then one line per cell, with times as long as ours."""
    import torch

    card = torch.cuda.get_device_name()
    sides: list[tuple[str, dict[str, str]]] = [("firstspike", {}), ("dense, compiled", {})]
    sides += [("spikingjelly", {"SJ_IF_CUDA_IMPLEMENTATION": value}) for value in JELLY]
    rows = []
    for side, environment in sides:
        label, left = ", ".join([side, *environment.values()]), deadline - time.monotonic()
        for row in _rows("benchmarks.cuda.steps", side, environment, left) if left > 20 else []:
            row["side"] = label
            rows.append(row)
            record.add(f"{row['net']} T={row['steps']}, {label}", device=card, **row)
    table(rows)


def _rows(module: str, argument: str, environment: dict[str, str], seconds: float) -> list[dict[str, Any]]:
    """The lines that a module prints."""
    command = [sys.executable, "-m", module, argument]
    started = {"cwd": ROOT, "env": {**os.environ, **environment}, "timeout": seconds}
    try:
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, **started).stdout  # type: ignore[call-overload]
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        print(f"{argument} {environment}: the time is up")
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def table(rows: list[dict[str, Any]]) -> None:
    """Print one line per cell."""
    ours = {(row["net"], row["steps"]): row.get("eager") for row in rows if row["side"] == "firstspike"}
    for row in rows:
        took, reference = row.get("eager"), ours.get((row["net"], row["steps"]))
        ratio = f"{took / reference:6.2f} x ours" if took and reference else ""
        measured = f"{took:8.3f} ms  {row['bytes'] / 2**20:8.0f} MiB" if took else row.get("failure", "")
        print(f"{row['net']:5} T={row['steps']:<3} {row['side']:24} {measured}  {ratio}")


if __name__ == "__main__":
    sys.exit(main())
