"""Timing on a CUDA device: events around each call, the L2 cache emptied in between, or a captured graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from ..timing import Summary, summarize

Call = Callable[[], object]
CACHE = 256 * 2**20  # bytes written between two samples, more than any L2 cache


def milliseconds(call: Call, *, seconds: float = 0.5, least: int = 10, most: int = 200) -> Summary:
    """Milliseconds of a call, on the device's own clock; the caches are cold in each sample."""
    for _ in range(3):
        call()
    cache = torch.empty(CACHE, dtype=torch.uint8, device="cuda")
    samples: list[float] = []
    torch.cuda.synchronize()
    began = time.perf_counter()
    while len(samples) < least or (len(samples) < most and time.perf_counter() - began < seconds):
        cache.zero_()
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        call()
        last.record()
        last.synchronize()
        samples.append(first.elapsed_time(last))
    return summarize(samples)


def peak_bytes(call: Call) -> int:
    """The most memory that a call holds beyond what was held before."""
    call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def ceilings() -> dict[str, float]:
    """What the device reaches: bytes per second of a copy (read and written), operations per second of matrix products."""
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    found = {"bandwidth": 2 * source.nbytes / (milliseconds(lambda: target.copy_(source)).median / 1e3)}
    size = 8192
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bf16", torch.bfloat16, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        x, y = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
        found[name] = 2 * size**3 / (milliseconds(partial(torch.matmul, x, y)).median / 1e3)
    torch.backends.cuda.matmul.allow_tf32 = False
    return found
