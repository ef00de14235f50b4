"""Scales and rounding: real weights to the integers of a profile, and the refusal of nets that these cannot represent.

A scale is the real value of an integer weight of 1: W = scale q.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..._base.checks import one_of
from ..program.layers import LARGEST_LEAKING_BITS
from ..program.profile import Profile
from ..program.program import Refusal

Reals = NDArray[np.float64]
OBSERVERS = ("max", "mse")
_SHARES = np.linspace(0.2, 1.0, 41)


class CannotQuantize(Refusal):
    """A net that a profile cannot represent. layer: its name, or "net". problem, remedy: the parts of the message.

    Examples
    --------
    >>> net = models.build("64-32-10", input_shape=(64,), steps=8, decay=0.5)
    >>> emulator.quantize(net, "odin-like")
    Traceback (most recent call last):
        ...
    firstspike.emulator.quantization.scales.CannotQuantize: ...
    """


NO_CURRENT = "its synaptic_decay needs a synaptic current, which is not there"


def checked_granularity(granularity: str | None, profile: Profile) -> str:
    """One scale per "channel" or per "tensor", by default what the profile's thresholds allow; ValueError otherwise."""
    if granularity is None:
        return "channel" if profile.thresholds == "neuron" else "tensor"
    one_of("granularity", granularity, ("channel", "tensor"))
    if granularity == "channel" and profile.thresholds == "layer":
        raise ValueError(f"granularity must be 'tensor': profile {profile.name} has one threshold per layer")
    return granularity


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
        raise CannotQuantize(
            "net",
            f"membrane and thresholds of profile {profile.name} hold no threshold of one weight, 2^{profile.weight_shift}",
            "use more membrane_bits or threshold_bits, or a smaller weight_shift",
        )
    scale = threshold * pool * pool / most
    while exact_ceil(threshold, scale, pool * pool) > most:
        scale = math.nextafter(scale, math.inf)
    return scale


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


def decay_obstacle(layer: str, decay: float, profile: Profile) -> CannotQuantize | None:
    """Why the cores of a profile cannot decay a layer's membrane so; None if they can."""
    bits, register = profile.decay_bits, profile.membrane
    if profile.leak == "shift":
        return _shift_obstacle(layer, "decay", decay, profile)
    if decay > 1:
        return CannotQuantize(layer, f"decay {decay:g} makes the membrane grow, the cores' cannot", decay=1.0)
    if decay == 1:
        return None
    if bits == 0:
        return CannotQuantize(layer, f"decay {decay:g} needs a leak, the chip has none", decay=1.0)
    if not 0 < round(decay * (1 << bits)) < 1 << bits:
        return CannotQuantize(layer, f"decay {decay:g} is not representable in {bits} bits", "change decay")
    if max(-register.low, register.high) > 1 << (LARGEST_LEAKING_BITS - 1):
        bound = f"{LARGEST_LEAKING_BITS} bits with a sign, {LARGEST_LEAKING_BITS - 1} without"
        why = f"decay {decay:g} needs a membrane of at most {bound}; the chip's has {profile.membrane_bits}"
        return CannotQuantize(layer, why, ", or fewer membrane_bits in your own profile", decay=1.0)
    return None


def _shift_obstacle(layer: str, what: str, decay: float, profile: Profile) -> CannotQuantize | None:
    if 0 < kept(decay, profile) <= profile.decay_bits:
        return None
    known = f"1 - 2^-k, k from 1 to {profile.decay_bits}"
    return CannotQuantize(layer, f"the chip has no {what} {decay:g}, only {known}", ", say", **{what: 0.9375})


def late(synaptic_decay: float, profile: Profile) -> float:
    """The share of an event that its current has when it first acts: where leaks are shifts, it leaked once."""
    return synaptic_decay if profile.leak == "shift" and synaptic_decay else 1.0


def current_obstacle(layer: str, synaptic_decay: float, profile: Profile) -> CannotQuantize | None:
    """The same of a layer's synaptic current."""
    if profile.leak == "shift":
        return _shift_obstacle(layer, "synaptic_decay", synaptic_decay, profile)
    if synaptic_decay and not (profile.current and kept(synaptic_decay, profile)):
        return CannotQuantize(layer, NO_CURRENT, synaptic_decay=0.0)
    return None


def kept(decay: float, profile: Profile) -> int:
    """What a register keeps per step: a share in 1 / 2^decay_bits; of a leak by shift the shift, 0 where there is none."""
    if profile.leak == "scale":
        return round(decay * (1 << profile.decay_bits))
    exact = decay < 1 and math.frexp(1 - decay)[0] == 0.5
    return round(-math.log2(1 - decay)) if exact else 0
