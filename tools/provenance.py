"""What a measurement was made on: `firstspike._provenance`, and what timings depend on besides (caches, load)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from firstspike._base import kernels
from firstspike._base.provenance import commit, cores, machine, now, processor, versions

from . import ROOT

__all__ = ["caches", "commit", "cores", "huge_pages", "machine", "now", "processor", "timing_origin", "versions"]

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PEERS = ("firstspike", "torch", "numpy", "spikingjelly", "snntorch", "norse")


def timing_origin() -> dict[str, Any]:
    """What a record of timings says of its origin: machine, versions, commit, time (UTC).

    machine: `processor` (with family and model), `cores`, `caches` in bytes, `system`, `load`, the load average of the
    last minute, and `huge_pages`, Linux's setting for transparent huge pages; the last two None where unknown.
    """
    here = machine()
    return {
        "machine": {
            "processor": processor_and_model(),
            "cores": here["cores"],
            "caches": caches(),
            "system": here["system"],
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "huge_pages": huge_pages(),
        },
        "versions": _versions(),
        "commit": _short(commit(ROOT, ("python", "cpp"))),
        "time": now(),
    }


def processor_and_model() -> str:
    """The processor's name, with family and model where Linux tells them (the name alone may say little)."""
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip(), value.strip())
    except OSError:
        return processor()
    return f"{processor()} (family {found['cpu family']}, model {found['model']})" if "model" in found else processor()


def caches() -> dict[str, int]:
    """Bytes of the data caches that the first core sees: {"L1": ..., "L2": ..., "L3": ...}; empty where unknown."""
    found = {}
    for folder in sorted(_CACHES.glob("index*")):
        if (folder / "type").read_text().strip() != "Instruction":
            size = (folder / "size").read_text().strip()
            factor = {"K": 1024, "M": 1024**2}.get(size[-1], 1)
            found[f"L{(folder / 'level').read_text().strip()}"] = int(size.rstrip("KM")) * factor
    return found


def huge_pages() -> str | None:
    """Linux's setting for transparent huge pages, "always", "madvise" or "never"; None where unknown."""
    try:
        chosen = re.search(r"\[(\w+)\]", _HUGE_PAGES.read_text(encoding="utf-8"))  # "[always] madvise never"
    except OSError:
        return None
    return chosen[1] if chosen else None


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that are compared, and our instruction set."""
    found = {name: "absent" if version == "unknown" else version for name, version in versions(PEERS).items()}
    if found["firstspike"] == "absent":
        found["firstspike"] = "from source"
    return {**found, "instruction set": kernels.ISA}


def _short(name: str | None) -> str | None:
    """A commit's first 12 digits, with "-dirty" where it had it."""
    if name is None:
        return None
    head, dash, rest = name.partition("-")
    return head[:12] + dash + rest
