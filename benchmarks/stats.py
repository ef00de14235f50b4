"""Median and spread of timings, and the ratio of two sides that took turns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Median, lower and upper quartile of `count` samples, in the samples' unit."""

    median: float
    low: float
    high: float
    count: int


def summarize(samples: Sequence[float]) -> Summary:
    """Median and quartiles (inclusive method) of at least one sample; ValueError for none."""
    if not samples:
        raise ValueError("samples must hold at least one number, got none")
    if len(samples) == 1:
        return Summary(samples[0], samples[0], samples[0], 1)
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Summary(median, low, high, len(samples))


def speedup(other: Sequence[float], ours: Sequence[float]) -> Summary:
    """How many times as long `other` takes: the ratio of the medians, with the quartiles of the rounds' ratios.

    Samples i of both sides come from the same round, so a slow moment of the machine stands in both. ValueError where
    the numbers of rounds differ.
    """
    if len(other) != len(ours):
        raise ValueError(f"both sides must have the same number of rounds, got {len(other)} and {len(ours)}")
    rounds = summarize([a / b for a, b in zip(other, ours, strict=True)])
    return Summary(statistics.median(other) / statistics.median(ours), rounds.low, rounds.high, rounds.count)
