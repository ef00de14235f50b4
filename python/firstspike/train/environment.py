"""What a run sets and measures in its process: random generators, threads, the allocator, memory."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h of glibc
_NEVER = -1
_STRIDE = 64 << 20  # bytes by which the heap grows


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A new CPU generator for one purpose in one epoch, of nothing else: a resumed run draws the same numbers."""
    digest = hashlib.sha256(f"firstspike {seed} {purpose} {epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))


@contextlib.contextmanager
def seeded(seed: int, purpose: str, epoch: int, device: torch.device) -> Iterator[None]:
    """Seed torch's own generators, of CPU and device, for one purpose in one epoch; then restore their old state."""
    number = generator(seed, purpose, epoch).initial_seed()
    with contextlib.ExitStack() as stack:
        for kind in {"cpu": torch.device("cpu"), device.type: device}.values():
            stack.enter_context(_seeded(kind, number))
        yield


@contextlib.contextmanager
def _seeded(device: torch.device, number: int) -> Iterator[None]:
    """Seed the generator of this device alone, where torch.manual_seed seeds all; then restore its old state."""
    module: Any = torch.random if device.type == "cpu" else torch.get_device_module(device)
    name = () if device.type in ("cpu", "mps") else (device,)  # each of the two has one generator
    before = module.get_rng_state(*name)
    module.set_rng_state(torch.Generator(device).manual_seed(number).get_state(), *name)
    try:
        yield
    finally:
        module.set_rng_state(before, *name)


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """Within, torch computes with this number of threads; 0 leaves its number."""
    before = torch.get_num_threads()
    if number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep freed memory for the rest of the process. Returns False if there is no glibc.

    Else malloc maps large tensors afresh for every call, and the kernel clears each page again (paper/LABBOOK.md).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc: other names, or no such call
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _STRIDE))
    return all(mallopt(name, value) == 1 for name, value in settings)


def start_peak(device: torch.device) -> None:
    """Restart the count of memory where the system allows it (Linux: the process's peak is set to its present size)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> int:
    """Bytes: on CUDA torch's peak on the device; else the peak of the process's resident memory, 0 where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0
