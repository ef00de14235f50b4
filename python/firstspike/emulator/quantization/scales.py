"""Scales and rounding: real weights to the integers of a profile.

A scale is the real value of an integer weight of 1: W = scale q.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..program.profile import Profile
from .refusals import CannotQuantize

Reals = NDArray[np.float64]
OBSERVERS = ("max", "mse")
MOST_PIXEL_BITS = 16  # of the weights of a first layer on pixels
_SHARES = np.linspace(0.2, 1.0, 41)


def weight_limits(bits: int) -> tuple[int, int]:
    """Lowest and highest integer of signed weights of that many bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def round_weights(weight: Reals, scale: Reals | float, bits: int, step: int = 1) -> NDArray[np.int64]:
    """q = step clip(round(W / (scale step))), rounding half to even."""
    low, high = weight_limits(bits)
    q: NDArray[np.int64] = np.clip(np.rint(weight / (scale * step)), low, high).astype(np.int64) * step
    return q


def choose_scale(
    weight: Reals,
    bits: int,
    step: int,
    observer: str,
    of_zeros: Reals | float = 1.0,
) -> Reals:
    """The scale of each group of weights, `weight` [groups, ...].

    observer: "max" clips nothing; "mse" has the least squared error among 41 shares of that scale, from 0.2 to 1. of_zeros:
    the scale of a group of zeros. All are coarser by 1e-6, so that weights which add up to a threshold still do as integers.
    Weights that are all multiples of a power of two which fits the bits get that power: they and their sums are exact.
    """
    flat = weight.reshape(len(weight), -1)
    largest, most = np.abs(flat).max(1), weight_limits(bits)[1] * step
    zeros = largest == 0
    full: Reals = np.where(zeros, of_zeros, largest / most) * (1 + 1e-6)
    power = np.exp2(np.ceil(np.log2(np.where(zeros, most, largest) / most)))
    grid = flat / (power * step)[:, None]
    exact = ~zeros & (grid == np.rint(grid)).all(1)
    best: Reals = np.where(exact, power, full)
    if observer == "max":
        return best
    least = np.where(zeros | exact, 0.0, np.inf)
    for share in _SHARES:
        scale = full * share
        error = ((round_weights(flat, scale[:, None], bits, step) * scale[:, None] - flat) ** 2).sum(1)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)
    return best


def scale_of_layer(
    weight: Reals,
    bias: Reals,
    threshold: float | None,
    pool: int,
    profile: Profile,
    *,
    one: bool,
    bits: int,
    observer: str,
    step: int | None = None,
) -> Reals:
    """The scales of a layer, [1] or [O], of its weight [O, ...] and bias [O]. threshold: None for a readout.

    step: of the integers, by default the profile's.
    """
    groups = 1 if one else len(weight)
    largest = np.abs(bias.reshape(groups, -1)).max(1)
    largest = np.where(largest == 0, 1.0, largest) if threshold is None else np.maximum(largest, threshold)
    of_zeros = largest * pool**2 / weight_limits(max(2, min(profile.bias_bits or 8, 8)))[1]
    return choose_scale(weight.reshape(groups, -1), bits, step or profile.weight_step, observer, of_zeros)


def shortcut_integers(shortcut: Reals, scale: Reals, threshold: float, pool: int, step: int) -> NDArray[np.int64]:
    """step round(shortcut pool^2 / (scale step)), [channels]; rounded up if the shortcut alone reaches the threshold."""

    def rounded(value: float, unit: float) -> int:
        if value >= threshold:
            return exact_ceil(value, unit * step, pool * pool) * step
        return round(Fraction(value) * pool * pool / Fraction(unit * step)) * step

    pairs = list(zip(shortcut.tolist(), scale.tolist(), strict=True))
    known = {pair: rounded(*pair) for pair in set(pairs)}
    return np.array([known[pair] for pair in pairs], np.int64)


def least_scale(shortcut: Reals, pool: int, bits: int, step: int, margin: float = 1e-9) -> Reals:
    """The smallest scales with which `shortcut_integers` fit the weight bits."""
    least: Reals = np.abs(shortcut) * pool**2 / (weight_limits(bits)[1] * step) * (1 + margin)
    return least


def exact_ceil(value: float, scale: float, factor: int | Fraction = 1) -> int:
    """ceil(value * factor / scale), exactly."""
    return math.ceil(Fraction(value) * factor / Fraction(scale))


def theta_integer(threshold: float, scale: float, pool: int, profile: Profile) -> int:
    """The integer threshold of a channel: reached exactly where the real sum of rounded weights reaches `threshold`.

    For >=: ceil(threshold pool^2 / scale) << weight_shift; for >: one grid step of the threshold register less.
    """
    reached = exact_ceil(threshold, scale, pool * pool) << profile.weight_shift
    return reached if profile.fire == "ge" else reached - (1 << profile.threshold_shift)


def threshold_on_grid(reached: int, profile: Profile) -> tuple[int, int]:
    """The register's threshold, and the smallest membrane that passes it, of those that are at least `reached`."""
    grid, strict = 1 << profile.threshold_shift, profile.fire == "gt"
    theta = -(-(reached - strict) // grid) * grid
    return theta, theta + strict


def largest_theta(profile: Profile) -> int:
    """The largest threshold that its register holds and that the membrane can still pass."""
    high = ((1 << profile.threshold_bits) - 1) << profile.threshold_shift
    reachable = profile.membrane.high - (profile.fire == "gt")
    return min(high, reachable >> profile.threshold_shift << profile.threshold_shift)


def finest_scale(threshold: float, pool: int, profile: Profile) -> float:
    """The smallest scale with which the integer threshold still fits `largest_theta`."""
    grid = (1 << profile.threshold_shift) if profile.fire == "gt" else 0
    most = (largest_theta(profile) + grid) >> profile.weight_shift
    if most < 1:
        raise no_threshold(profile)
    scale = threshold * pool * pool / most
    while exact_ceil(threshold, scale, pool * pool) > most:
        scale = math.nextafter(scale, math.inf)
    return scale


def no_threshold(profile: Profile) -> CannotQuantize:
    """The refusal of a profile that has no threshold as large as one weight."""
    problem = f"membrane and thresholds of profile {profile.name} hold no threshold of one weight, 2^{profile.weight_shift}"
    return CannotQuantize(problem, "use more membrane_bits or threshold_bits, or a smaller weight_shift")


def coarse_bits(threshold: float, scale: float, most: int) -> int:
    """The fewest bits by which sums of pixels are rounded so that a threshold of at most `most` remains."""
    reached, bits = exact_ceil(threshold, scale, 255), 0
    while -(-reached >> bits) > most:
        bits += 1
    return bits


def has_currents(profile: Profile) -> bool:
    """True if a chip's cores take the neurons of a first layer in integers: each has a bias, written per sample."""
    return bool(profile.bias_bits) and not profile.convolution_cores and profile.leak == "scale"


def most_current(profile: Profile) -> tuple[int, int]:
    """(largest current of a first layer in integers, largest threshold in its unit); a membrane holds twice the threshold."""
    if not has_currents(profile):
        return (1 << 23) - 1, (1 << 22) - 1
    high = (1 << min(profile.bias_bits or 0, 24) - 1) - 1
    grid = (1 << profile.threshold_shift) if profile.fire == "gt" else 0
    held = min(largest_theta(profile) + grid, profile.membrane.high // 2) >> profile.weight_shift
    return high, min(high, held)
