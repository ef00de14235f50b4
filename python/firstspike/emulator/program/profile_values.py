"""Which values the parameters of a chip profile may have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..._base.checks import MAX_STEPS, shown
from ..._base.fields import own_number
from ...energy import EnergyTable
from .core_kind import MAX_CORES, CoreKind
from .layers import FIRE, POLICIES, UPDATES

if TYPE_CHECKING:
    from .profile import Profile

SIGNS = ("signed", "even", "source")
THRESHOLDS = ("neuron", "group", "layer")
SINGLE_SPIKE = ("native", "refractory", "assumed")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "weight_sign": SIGNS,
    "thresholds": THRESHOLDS,
    "fire": FIRE,
    "update": UPDATES,
    "single_spike": SINGLE_SPIKE,
    "membrane_values": ("signed", "symmetric", "unsigned"),
    "membrane_overflow": POLICIES,
    "accumulator_overflow": (None, *POLICIES),
    "shared_weights": (True, False),
    "convolution_cores": (True, False),
}
_NUMBERS = {
    "weight_bits": (2, 31),
    "weight_shift": (0, 16),
    "membrane_bits": (2, 61),
    "threshold_bits": (1, 60),
    "threshold_shift": (0, 16),
    "decay_bits": (0, 16),
    "axon_delay": (0, 64),
}
_NUMBERS_OR_NONE = {
    "accumulator_bits": (2, 61),
    "threshold_groups": (1, 1 << 31),
    "bias_bits": (0, 40),
    "single_spike_steps": (1, MAX_STEPS),
    "max_kernel": (1, 1 << 31),
    "max_padding": (0, 1 << 31),
    "max_features": (1, 1 << 31),
    "max_output_side": (1, 1 << 31),
    "max_destinations": (1, 1 << 31),
    "max_fan_in": (1, 1 << 31),
}
_SEVERAL = ("strides", "pools", "step_nanoseconds")
_OF_CONVOLUTION_CORES = ("kernel_entries", "neuron_entries")
_OF_OTHER_CORES = ("neurons", "axons_in", "axons_out", "synapse_bits")


def check(profile: Profile) -> None:
    """Raise ValueError naming the parameter whose value is not one that the emulator knows; make NumPy's numbers Python's."""

    def refuse(name: str, wanted: str, value: object) -> ValueError:
        return ValueError(f"profile {profile.name}: {name} must be {wanted}, got {shown(value)}")

    for name in ("name", "description"):
        if not isinstance(getattr(profile, name), str):
            raise refuse(name, "a text", getattr(profile, name))
    if profile.energy is not None and not isinstance(profile.energy, (str, EnergyTable)):
        raise refuse("energy", "the name of an energy table, an EnergyTable or None", profile.energy)
    if not isinstance(profile.sources, dict) or not all(isinstance(each, str) for each in profile.sources.values()):
        raise refuse("sources", "a dict of texts", profile.sources)
    for name, known in _CHOICES.items():
        value = getattr(profile, name)
        if not any(value is each or (isinstance(each, str) and value == each) for each in known):
            raise refuse(name, f"one of {', '.join(map(str, known))}", value)
    for name in (*_NUMBERS, *_NUMBERS_OR_NONE, *_SEVERAL):
        object.__setattr__(profile, name, _own_numbers(getattr(profile, name)))
    for name, (low, high) in (_NUMBERS | _NUMBERS_OR_NONE).items():
        value = getattr(profile, name)
        if value is None and name in _NUMBERS_OR_NONE:
            continue
        if type(value) is not int or not low <= value <= high:
            raise refuse(name, f"an int from {low} to {high}", value)
    for name in ("strides", "pools"):
        value = getattr(profile, name)
        if value is not None and not (_is_some(value) and all(type(each) is int and each > 0 for each in value)):
            raise refuse(name, "a list of positive ints", value)
    if profile.threshold_shift > profile.weight_shift:
        raise refuse("threshold_shift", f"at most weight_shift, {profile.weight_shift}", profile.threshold_shift)
    if profile.thresholds == "group" and profile.threshold_groups is None:
        raise refuse("threshold_groups", 'a number where thresholds is "group"', None)
    if profile.membrane_values == "symmetric" and profile.membrane_overflow == "wrap":
        raise refuse("membrane_overflow", 'no "wrap" where membrane_values is "symmetric"', profile.membrane_overflow)
    if profile.membrane_values == "unsigned" and profile.membrane_bits > 60:
        raise refuse("membrane_bits", 'at most 60 where membrane_values is "unsigned"', profile.membrane_bits)
    times = profile.step_nanoseconds
    if times is not None and not (_is_some(times) and len(times) == 2 and _are_times(*times)):
        raise refuse("step_nanoseconds", "two numbers, above 0 and in order: the shortest and longest step", times)
    _check_cores(profile)


def _check_cores(profile: Profile) -> None:
    if not _is_some(profile.cores) or not all(isinstance(kind, CoreKind) for kind in profile.cores):
        raise ValueError(
            f"profile {profile.name}: cores must be at least one kind of core, in TOML [[cores]], got {shown(profile.cores)}"
        )
    object.__setattr__(profile, "cores", tuple(profile.cores))
    if sum(kind.count for kind in profile.cores) > MAX_CORES:
        raise ValueError(f"profile {profile.name}: at most {MAX_CORES} cores are possible")
    foreign = _OF_OTHER_CORES if profile.convolution_cores else _OF_CONVOLUTION_CORES
    for name in foreign:
        if any(getattr(kind, name) is not None for kind in profile.cores):
            what = "" if profile.convolution_cores else "no "
            raise ValueError(
                f"profile {profile.name}: its cores are {what}convolution cores, {name} says nothing of them"
            )


def _own_numbers(value: object) -> object:
    return tuple(map(own_number, value)) if isinstance(value, (list, tuple)) else own_number(value)


def _is_some(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0


def _are_times(low: object, high: object) -> bool:
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (low, high))
    return numbers and 0 < float(low) <= float(high) < math.inf  # type: ignore[arg-type]
