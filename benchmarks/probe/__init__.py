"""The machine's own limits, measured by probe.cpp."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("probe.cpp")
FLAGS = ("-O3", "-std=c++20", "-march=native", "-mprefer-vector-width=512", "-Wno-psabi", "-pthread")


def limits(threads: int, caches: dict[str, int]) -> dict[str, Any]:
    """Compile the probe and run it: floats a second added and multiplied-added, bytes a second read, by all threads
    together.

    caches: bytes a level, as `machine.caches` gives them; a level is read in half of a core's share of it (the last one
    is shared), memory in eight times the largest. RuntimeError where there is no C++ compiler.
    """
    sizes = {level: size // 2 for level, size in caches.items()}
    if "L3" in sizes:
        sizes["L3"] //= threads
    sizes["memory"] = max(256 << 20, 8 * max(caches.values(), default=0))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "probe"
        compiler = os.environ.get("CXX") or (sysconfig.get_config_var("CXX") or "c++").split()[0]
        flags = list(FLAGS) if os.uname().machine == "x86_64" else [f for f in FLAGS if "width" not in f]
        try:
            subprocess.run(
                [compiler, *flags, str(SOURCE), "-o", str(program)], check=True, capture_output=True, text=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise RuntimeError(f"cannot compile {SOURCE} with {compiler}: {getattr(error, 'stderr', error)}") from error
        done = subprocess.run(
            [str(program), str(threads), *(f"{name}={size}" for name, size in sizes.items())],
            check=True,
            capture_output=True,
            text=True,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
