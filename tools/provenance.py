"""The origin of a measurement: `firstspike.provenance`, and what timings depend on besides (caches, load)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import firstspike
from firstspike import provenance

from . import ROOT

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PEERS = ("firstspike", "torch", "numpy", "spikingjelly", "snntorch", "norse")


def timing_origin() -> dict[str, Any]:
    """The origin of a record of timings: machine, versions, commit, time (UTC).

    machine: `processor` (with family and model), `cores`, `caches` in bytes, `system`, `load`, the load average of the
    last minute, and `huge_pages`, Linux's setting for transparent huge pages; the last two None where unknown.
    """
    here = provenance.machine()
    head, dash, dirty = (provenance.commit(ROOT, ("python", "cpp")) or "").partition("-")
    found = provenance.versions(PEERS)
    return {
        "machine": {
            "processor": processor_and_model(),
            "cores": here["cores"],
            "caches": caches(),
            "system": here["system"],
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "huge_pages": huge_pages(),
        },
        "versions": {name: "absent" if version == "unknown" else version for name, version in found.items()}
        | {"instruction set": firstspike.backends()["cpu"]["instruction_set"]},
        "commit": head[:12] + dash + dirty or None,
        "time": provenance.now(),
    }


def processor_and_model() -> str:
    """The processor's name, with family and model where Linux tells them (the name alone may say little)."""
    name, found = provenance.processor(), dict[str, str]()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip(), value.strip())
    except OSError:
        return name
    return f"{name} (family {found['cpu family']}, model {found['model']})" if "model" in found else name


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
