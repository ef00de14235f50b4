"""Resident memory of this process (Linux)."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")


def is_known() -> bool:
    """Whether this system tells."""
    return _STATUS.exists()


def resident() -> int:
    """Bytes of this process in memory now."""
    return _status("VmRSS")


def peak_resident() -> int:
    """The most bytes of this process in memory since `reset_peak`, or since it started."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Start `peak_resident` anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status must have {key}")
