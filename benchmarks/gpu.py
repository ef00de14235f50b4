"""Everything on a CUDA device in one command: build, check against the CPU, time, compare.

    python -m benchmarks.gpu [--minutes 8] [--results FOLDER]

Prints tables and writes benchmarks/results/gpu/*.json with the card's name. Exits with 2 and the reason where nothing can
be run. SpikingJelly is compared where it is installed (its wheel can be put on PYTHONPATH). No record is committed yet:
these kernels have not been run on a device.
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

JELLY = ("auto", "cuda", "triton", "torch")  # values of SpikingJelly's own environment variable
CHECKS = ("tests/cuda/test_device.py",)


def main(arguments: list[str] | None = None) -> int:
    """Run all; the exit status."""
    options = _parser().parse_args(arguments)
    reason = obstacle()
    if reason is not None:
        print(f"Nothing was run: {reason}. This command needs a CUDA device; the CUDA tests on the processor do not:\n"
              "    pytest tests/cuda", file=sys.stderr)  # fmt: skip
        return 2
    if not options.inside:
        return _build_and_go_on(options)
    deadline = time.monotonic() + 60 * options.minutes
    if subprocess.run([sys.executable, "-m", "pytest", "-q", *CHECKS], cwd=ROOT).returncode:
        print("The checks failed: nothing is timed.", file=sys.stderr)
        return 1
    _kernels(SectionRecord(options.results, "kernels", resume=False), deadline - 60 * options.minutes / 2)
    _steps(SectionRecord(options.results, "steps", resume=False), deadline)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="no new measurement begins later (default: 8)")
    parser.add_argument("--results", type=Path, default=RESULTS / "gpu", help="folder of the records")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


def _build_and_go_on(options: argparse.Namespace) -> int:
    import torch

    began = time.monotonic()
    site = build("".join(map(str, torch.cuda.get_device_capability())))
    left = options.minutes - (time.monotonic() - began) / 60
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu",
        "--inside",
        "--minutes",
        f"{left:.2f}",
        "--results",
        str(options.results.resolve()),
    ]
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}).returncode


def _kernels(record: SectionRecord, deadline: float) -> None:
    """Each kernel beside its floor; the layers in all variants."""
    import torch

    from .cuda import kernels
    from .cuda.timing import ceilings, milliseconds

    card, limits = torch.cuda.get_device_name(), ceilings()
    record.add("ceilings", device=card, **limits)
    print(f"{card}: " + ", ".join(f"{name} {value:.3g}/s" for name, value in limits.items()))
    for group in (kernels.neurons, kernels.layers):
        for case in group():
            floor = case.floor(limits)
            variants = {"as chosen": kernels.VARIANTS["as chosen"]} if group is kernels.neurons else kernels.VARIANTS
            for name, variant in variants.items():
                if time.monotonic() > deadline:
                    print("the time is up for kernels")
                    return
                try:
                    with kernels.Chosen(variant):
                        took = milliseconds(case.call, seconds=0.15)
                except RuntimeError as error:  # a variant that does not fit this device
                    print(f"{case.name:40}{name:18}{str(error).splitlines()[0]}")
                    continue
                share = floor / took.median
                record.add(f"{case.name}, {name}", device=card, milliseconds=took.median, low=took.low, high=took.high,
                         floor=floor, share=share)  # fmt: skip
                print(f"{case.name:40}{name:18}{took.median:9.4f} ms  {100 * share:5.1f} % of the limit")


def _steps(record: SectionRecord, deadline: float) -> None:
    """Training steps, each library in a process of its own."""
    import torch

    card, rows = torch.cuda.get_device_name(), []
    for side, environment in [("firstspike", {}), ("dense, compiled", {})] + [
        ("spikingjelly", {"SJ_IF_CUDA_IMPLEMENTATION": value}) for value in JELLY
    ]:
        left = deadline - time.monotonic()
        label = ", ".join([side, *environment.values()])
        if left < 20:
            print(f"{label}: the time is up")
            continue
        for row in _rows(side, environment, left):
            row["side"] = label
            rows.append(row)
            record.add(f"{row['net']} T={row['steps']}, {label}", device=card, **row)
    _table(rows)


def _rows(side: str, environment: dict[str, str], seconds: float) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.cuda.steps", side]
    output = ""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            timeout=seconds,
            capture_output=True,
            text=True,
        )
        output = done.stdout
        if done.returncode:
            print(f"{side} {environment}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        print(f"{side} {environment}: the time is up")
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def _table(rows: list[dict[str, Any]]) -> None:
    """One line per cell; how many times as long as ours the best of each row's ways takes."""

    def best(row: dict[str, Any]) -> float | None:
        return min((row[way] for way in ("eager", "graph") if way in row), default=None)

    ours = {(row["net"], row["steps"]): best(row) for row in rows if row["side"] == "firstspike"}
    for row in rows:
        took, reference = best(row), ours.get((row["net"], row["steps"]))
        ratio = f"{took / reference:6.2f} x ours" if took and reference else ""
        ways = "  ".join(f"{way} {row[way]:8.3f} ms" for way in ("eager", "graph") if way in row)
        memory = f"{row['bytes'] / 2**20:8.0f} MiB" if "bytes" in row else ""
        print(f"{row['net']:5} T={row['steps']:<3} {row['side']:24} {ways}  {memory}  {ratio} {row.get('failure', '')}")


if __name__ == "__main__":
    sys.exit(main())
