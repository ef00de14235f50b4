"""Reads nvcc's resource report and refuses kernels that spill or keep arrays in local memory.

cmake -S . -B build/cuda -DFIRSTSPIKE_CUDA=ON -DCMAKE_CUDA_FLAGS=-Xptxas=-v
cmake --build build/cuda --target _cuda 2>&1 | tee build/cuda/log
python tests/cuda/resources.py build/cuda/log
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

REPORT = re.compile(
    r"Compiling entry function '(\w+)' for '(\w+)'.*?"
    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
    r"Used (\d+) registers",
    re.DOTALL,
)


class Kernel(NamedTuple):
    """What one kernel needs on one architecture; sizes in bytes."""

    name: str
    architecture: str
    stack: int
    spills: int
    registers: int


def kernels(log: str) -> list[Kernel]:
    """All kernels that a build's log reports."""
    found = []
    for name, architecture, *sizes in REPORT.findall(log):
        stack, stores, loads, registers = map(int, sizes)
        found.append(Kernel(short(name), architecture, stack, stores + loads, registers))
    return found


def short(mangled: str) -> str:
    """The kernel's own name and template arguments, from a mangled one."""
    found = re.search(r".*\d([a-z_]+_kernel)", mangled)
    arguments = re.findall(r"L[ib](\d+)E", mangled)
    return (found[1] if found else mangled) + (f"<{', '.join(arguments)}>" if arguments else "")


def wrong(found: list[Kernel]) -> list[str]:
    """One line for each kernel that uses local memory."""
    return [
        f"{k.name} for {k.architecture}: {k.stack} bytes of stack, {k.spills} bytes spilled" for k in found if k.stack or k.spills
    ]


def main(path: str) -> int:
    """Print the table; 1 where a kernel uses local memory, 2 where the log reports none."""
    found = kernels(Path(path).read_text())
    for k in sorted(found, key=lambda k: (k.architecture, k.name)):
        print(f"{k.architecture:8}{k.registers:4} registers  {k.name}")
    if not found:
        print("no kernel reported: build anew, with -DCMAKE_CUDA_FLAGS=-Xptxas=-v")
        return 2
    problems = wrong(found)
    print("\n".join(problems) or f"{len(found)} kernels, none spills")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
