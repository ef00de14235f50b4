"""Weights that are whole numbers already, as those of quantised nets: they are kept, with thresholds that decide alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
_LARGEST = 128  # whole weight that is looked for, of 8 bits
_NEAR = 3e-7  # what float32 may have moved, relative to a number


class Kept(NamedTuple):
    """Channels [O] whose whole weights are kept. unit: of the membrane. exact: those with the levels of the float net."""

    rows: NDArray[np.bool_]
    unit: Reals
    rise: Integers
    offset: Integers
    exact: NDArray[np.bool_]


class Sums(NamedTuple):
    """Sums of whole weights times levels, [O]: a neuron has level a or more where they reach a rise - offset, up to `steps`.

    low, high: of the sums for any input.
    """

    rise: Reals
    offset: Reals
    low: Reals
    high: Reals
    steps: int

    def of(self, rows: Integers) -> Sums:
        """Those of some channels."""
        return Sums(self.rise[rows], self.offset[rows], self.low[rows], self.high[rows], self.steps)


def common_unit(weight: Reals) -> Reals:
    """The largest number of which all of a group are multiples of at most 128, up to float32's rounding; NaN without one.

    weight: [groups, N]; a group of zeros has no unit.
    """
    largest = np.abs(weight).max(1)
    unit = np.full(len(weight), np.nan)
    ratio = np.abs(weight) / np.where(largest > 0, largest, 1)[:, None]
    few = np.sort(ratio, 1)[:, -32:]  # which rule out most
    for most in range(1, _LARGEST + 1):
        rows = np.flatnonzero(np.isnan(unit) & (largest > 0) & _are_whole(few * most))
        rows = rows[_are_whole(ratio[rows] * most)]
        whole = np.rint(ratio[rows] * most)
        unit[rows] = (np.abs(weight[rows]) * whole).sum(1) / (whole * whole).sum(1)
    return unit


def _are_whole(values: Reals) -> NDArray[np.bool_]:
    whole: NDArray[np.bool_] = (np.abs(values - np.rint(values)) <= 8 * _NEAR * np.maximum(values.max(1), 1)[:, None]).all(1)
    return whole


def keep(sums: Sums, unit: Reals, limit: Reals, step: int) -> Kept:
    """Of each channel, the least factor of the weights with which whole rises and offsets give the levels of the float net.

    Where none does, the one whose thresholds are off least, by at most a hundredth of a level. unit: of the weights, [O].
    limit: of the factors, [O], 0 where the weights are no whole numbers; step: they are its multiples.
    """
    off, factor = np.full(len(limit), np.inf), np.ones(len(limit))
    rise, offset = np.zeros(len(limit), np.int64), np.zeros(len(limit), np.int64)
    most = int(limit.max(initial=0)) // step
    for times in sorted({*range(1, min(most, _LARGEST) + 1), *(1 << n for n in range(most.bit_length()))}):
        rows = np.flatnonzero((off > 0) & (limit >= times * step))
        rises, offsets, far = _thresholds(sums.of(rows), times * step)
        better = far < off[rows]
        rows = rows[better]
        off[rows], factor[rows], rise[rows], offset[rows] = far[better], times * step, rises[better], offsets[better]
    kept = off <= sums.rise / 100
    return Kept(kept, unit / factor, rise, offset, kept & (off == 0))


def _thresholds(sums: Sums, factor: int) -> tuple[Integers, Integers, Reals]:
    """(rise, offset, by how much thresholds of sums are off) of the better of two whole rises, [O]."""
    level, (low, high) = np.arange(1, sums.steps + 1), (sums.low[:, None], sums.high[:, None])
    reached = level * sums.rise[:, None] - sums.offset[:, None]
    near, noise = np.rint(reached), _NEAR * (level * sums.rise[:, None] + np.abs(sums.offset[:, None]))
    first = np.where(np.abs(reached - near) <= noise, near, np.ceil(reached)).clip(low, high + 1)  # the least sum of the level
    results = []
    for rise in (np.floor(factor * sums.rise), np.floor(factor * sums.rise) + 1):
        rise = np.maximum(rise, 1)
        bounds = level * rise[:, None]  # factor (first - 1) < bounds - offset <= factor first
        least = np.where(first <= high, bounds - factor * first, -np.inf).max(1)
        most = np.where(first > low, bounds - factor * (first - 1) - 1, np.inf).min(1)
        offset = np.where(least <= most, np.rint(factor * sums.offset).clip(least, most), np.rint((least + most) / 2))
        passed = np.ceil((bounds - offset[:, None]) / factor).clip(low, high + 1)
        results.append((rise, offset, np.abs(passed - first).max(1)))
    pick = results[1][2] < results[0][2]
    rise, offset, far = (np.where(pick, two, one) for one, two in zip(*results, strict=True))
    return rise.astype(np.int64), offset.astype(np.int64), far
