"""What was measured on: processor, caches, load, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("firstspike", "torch", "numpy", "spikingjelly", "snntorch", "norse")
_CPU = Path("/sys/devices/system/cpu/cpu0/cache")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, caches in bytes, and the load average of the last minute."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": processor(),
        "cores": cores,
        "caches": caches(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": load,
    }


def processor() -> str:
    """The processor's name, with family and model where the name alone says little."""
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor() or "unknown"
    name = found.get("model name", platform.machine())
    return f"{name} (family {found['cpu family']}, model {found['model']})" if "cpu family" in found else name


def caches() -> dict[str, int]:
    """Bytes of the data caches that the first core sees: {"L1": ..., "L2": ..., "L3": ...}; empty where unknown."""
    found = {}
    for folder in sorted(_CPU.glob("index*")):
        if (folder / "type").read_text().strip() != "Instruction":
            size = (folder / "size").read_text().strip()
            factor = {"K": 1024, "M": 1024**2}.get(size[-1], 1)
            found[f"L{(folder / 'level').read_text().strip()}"] = int(size.rstrip("KM")) * factor
    return found


def versions() -> dict[str, str]:
    """Versions of Python, of the packages that are compared, and our instruction set."""
    from firstspike import _extension

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "from source" if name == "firstspike" else "absent"
    return {**found, "instruction set": _extension.ISA}


def commit() -> str | None:
    """The commit measured, with "-dirty" behind it where the package's sources differ from it; None outside git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "python", "cpp")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("-dirty" if changed else "")


def origin() -> dict[str, Any]:
    """Everything above, the number of threads, and the time (UTC)."""
    return {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "threads": torch.get_num_threads(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()
