"""Timing of several sides that take turns in one process; median, spread and ratio of what was timed."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How long to measure: at least `rounds` rounds, more until `seconds` are over, never more than `most`.

    block: shortest time in seconds of one sample; quick calls are repeated within a sample. settle: before each sample the
    side runs unmeasured for this time, because the side before it has filled the caches (a call of more than ten times that
    does not care).
    """

    rounds: int = 5
    seconds: float = 1.0
    most: int = 200
    block: float = 0.02
    settle: float = 0.01
    warmup: int = 2


QUICK = Effort(rounds=5, seconds=0.5, most=30, block=0.01, warmup=2)
FULL = Effort(rounds=15, seconds=4.0, most=300, block=0.02, warmup=3)


@dataclass(frozen=True)
class Summary:
    """Median, lower and upper quartile of samples, in their unit."""

    median: float
    low: float
    high: float


def summarize(samples: Sequence[float]) -> Summary:
    """Median and quartiles (inclusive method) of at least one sample."""
    if len(samples) == 1:
        return Summary(samples[0], samples[0], samples[0])
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Summary(median, low, high)


def speedup(other: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as long `other` takes: the ratio of the medians. Samples i of both sides come from the same round."""
    return statistics.median(other) / statistics.median(ours)


def once(call: Call, calls: int = 1) -> float:
    """Seconds per call, over `calls` calls in a row."""
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls


def alternate(sides: Mapping[str, Call], effort: Effort, before_round: Call = lambda: None) -> dict[str, list[float]]:
    """Seconds per call of each side: one sample per round, all sides in each round, the first side of a round changing.

    So a slow moment of the machine affects all sides alike. Each side is warmed up before. Python's garbage collector runs
    between rounds, not within them, and so does `before_round`.
    """
    calls = {name: calls_of(call, effort) for name, call in sides.items()}  # to settle, and in a sample
    samples: dict[str, list[float]] = {name: [] for name in sides}
    names, began, collected = list(sides), time.perf_counter(), gc.isenabled()
    gc.disable()
    try:
        for index in range(effort.most):
            if index >= effort.rounds and time.perf_counter() - began > effort.seconds:
                break
            before_round()
            turn = index % len(names)
            for name in names[turn:] + names[:turn]:
                settling, measured = calls[name]
                for _ in range(settling):
                    sides[name]()
                samples[name].append(once(sides[name], measured))
            if index % 8 == 7:
                gc.collect()
    finally:
        if collected:
            gc.enable()
    return samples


def calls_of(call: Call, effort: Effort) -> tuple[int, int]:
    """Warm up, and find how many calls settle a side, and how many fill a block."""
    best = max(min(once(call) for _ in range(max(1, effort.warmup))), 1e-9)
    settling = 0 if best > 10 * effort.settle else math.ceil(effort.settle / best)
    return settling, max(1, math.ceil(effort.block / best))
