"""Scales and rounding: real weights to the integers of a profile."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..program.profile import Profile

OBSERVERS = ("max", "mse")
_SHARES = np.linspace(0.2, 1.0, 41)


def checked_bits(bits: int | None, profile: Profile) -> int:
    """The weight bits to use, by default the profile's; ValueError for what it does not hold."""
    bits = profile.weight_bits if bits is None else bits
    if not isinstance(bits, int) or not 2 <= bits <= profile.weight_bits:
        most = profile.weight_bits
        raise ValueError(f"bits must be an int from 2 to {most}, the profile's weight_bits, got {bits!r}")
    return bits


def checked_granularity(granularity: str | None, profile: Profile) -> str:
    """One unit a "channel" or a "tensor", by default what the profile's thresholds allow; ValueError for another."""
    if granularity not in (None, "channel", "tensor"):
        raise ValueError(f"granularity must be 'channel' or 'tensor', got {granularity!r}")
    if granularity == "channel" and profile.thresholds == "layer":
        raise ValueError(f"granularity must be 'tensor': profile {profile.name} has one threshold a layer")
    return granularity or ("channel" if profile.thresholds == "neuron" else "tensor")


def weight_limits(bits: int) -> tuple[int, int]:
    """Lowest and highest code of signed weights of that many bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def round_weights(
    weight: NDArray[np.float64], unit: NDArray[np.float64] | float, bits: int, step: int = 1
) -> NDArray[np.int64]:
    """clip(round(W / unit)) as whole codes times `step`; rounds half to even. One unit is what an integer weight of 1
    stands for."""
    low, high = weight_limits(bits)
    return np.clip(np.rint(weight / (unit * step)), low, high).astype(np.int64) * step


def choose_scale(weight: NDArray[np.float64], bits: int, step: int, observer: str) -> NDArray[np.float64]:
    """The unit of each row of `weight` [rows, ...]: "max" clips nothing, "mse" has the least squared error of 41
    shares of it.

    A row of zeros has the unit 1.
    """
    if observer not in OBSERVERS:
        raise ValueError(f"observer must be one of {', '.join(OBSERVERS)}, got {observer!r}")
    flat = weight.reshape(len(weight), -1)
    full = np.abs(flat).max(1) / (weight_limits(bits)[1] * step)
    full[full == 0] = 1.0
    if observer == "max":
        return full
    best, least = full, np.full(len(full), np.inf)
    for share in _SHARES:
        unit = full * share
        error = ((round_weights(flat, unit[:, None], bits, step) * unit[:, None] - flat) ** 2).sum(1)
        better = error < least
        best, least = np.where(better, unit, best), np.where(better, error, least)
    return best


def exact_ceil(value: float, unit: float, factor: int = 1) -> int:
    """ceil(value * factor / unit), exactly."""
    return math.ceil(Fraction(value) * factor / Fraction(unit))


def theta_integer(threshold: float, unit: float, pool: int, profile: Profile) -> int:
    """The integer threshold of a channel: reached exactly where the real sum of rounded weights reaches `threshold`.

    Membranes are multiples of 2^weight_shift. For >=: ceil(threshold pool^2 / unit) << shift; for >: one grid step of
    the threshold register less.
    """
    reached = exact_ceil(threshold, unit, pool * pool) << profile.weight_shift
    return reached if profile.fire == "ge" else reached - (1 << profile.threshold_shift)


def largest_theta(profile: Profile) -> int:
    """The largest threshold that its register holds and that the membrane can still pass."""
    high = ((1 << profile.threshold_bits) - 1) << profile.threshold_shift
    reachable = profile.membrane.high - (profile.fire == "gt")
    return min(high, reachable >> profile.threshold_shift << profile.threshold_shift)


def finest_scale(threshold: float, pool: int, profile: Profile) -> float:
    """The smallest unit with which the integer threshold still fits `largest_theta`."""
    grid = (1 << profile.threshold_shift) if profile.fire == "gt" else 0
    most = (largest_theta(profile) + grid) >> profile.weight_shift
    unit = threshold * pool * pool / most
    while exact_ceil(threshold, unit, pool * pool) > most:
        unit = math.nextafter(unit, math.inf)
    return unit
