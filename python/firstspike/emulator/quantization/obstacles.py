"""What stands between a net and a profile: settings of another preparation, steps, decays, biases and signs that a chip lacks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..._base import checks
from ..._base.checks import MAX_STEPS
from ..program.layers import LARGEST_LEAKING_BITS, Layer
from ..program.profile import Profile
from . import scales
from .facts import Facts, NetFacts, PixelFacts, StepFacts
from .refusals import CannotQuantize, Refusals

FIRST_LAYERS = ("integers", "float")
_NO_CURRENT = "its synaptic_decay needs a synaptic current, which is not there"


class Settings(NamedTuple):
    """Arguments of `quantize`. bits, granularity: None where they are left out. untrained: whether biases count that are zero.

    keeps: whether weights of layers of windows that are whole numbers stay so.
    """

    profile: Profile
    bits: int | None = None
    granularity: str | None = None
    observer: str = "mse"
    first_layer: str = "integers"
    drop_biases: bool = False
    untrained: bool = False
    keeps: bool = True

    def checked(self) -> Settings:
        """The same settings; TypeError or ValueError names one that is wrong."""
        checks.one_of("observer", self.observer, scales.OBSERVERS)
        checks.one_of("first_layer", self.first_layer, FIRST_LAYERS)
        checks.one_of("granularity", self.granularity, (None, "channel", "tensor"))
        if self.granularity == "channel" and self.profile.thresholds == "layer":
            raise ValueError(f"granularity must be 'tensor': profile {self.profile.name} has one threshold per layer")
        bits = None if self.bits is None else checks.integer("bits", self.bits, 2, self.profile.weight_bits)
        return self._replace(bits=bits)

    @property
    def usual_granularity(self) -> str:
        """The granularity of layers that run step by step where none is given."""
        return self.granularity or ("channel" if self.profile.thresholds == "neuron" else "tensor")

    def one_scale(self, facts: Facts) -> bool:
        """True if all outputs of a layer share a scale."""
        granularity = self.usual_granularity if isinstance(facts, StepFacts) else self.granularity
        return granularity == "tensor" or facts.compared or not facts.fires

    def bits_of(self, net: NetFacts) -> int:
        """The bits of a net's weights: as given, or the fewer of the profile's and those of `qat.prepare`."""
        most = self.profile.weight_bits
        return self.bits or min([most, *(facts.made_for.get("bits", most) for facts in net.layers)])


def check(net: NetFacts, settings: Settings, refusals: Refusals) -> NetFacts | None:
    """Refuse what the chip lacks for any layer.

    Returns the facts that become integers, without a preparation for other settings, or None if no layers can be made of them.
    """
    p = settings.profile
    if net.timing == "windowed" and (p.window_shift is None or p.update == "event"):
        problem = "layers of windows need a current that stays on, the chip has none"
        refusals.append(CannotQuantize(problem, ", or choose another chip", timing="step"))
        return None
    if (refusal := next(_other_preparation(net, settings), None)) is not None:
        refusals.append(refusal)
        net = net.unprepared()
    if net.timing == "step":
        check_period(net.steps, "single spikes", "", p, refusals)
        if (total := net.steps + len(net.layers) * p.axon_delay) > MAX_STEPS:
            refusals.append(CannotQuantize(f"with its delays it takes {total} steps, of {MAX_STEPS}", "use fewer steps"))
            return None
    for facts in (*net.layers, net.pixels):
        if isinstance(facts, StepFacts):
            with refusals.of(facts.name):
                refusals += _obstacles(facts, settings)
    if net.timing == "step" and p.fpga is not None:
        problem = "the core keeps no membranes from step to step, so it runs nets of windows only"
        refusals.append(CannotQuantize(problem, timing="windowed"))
        return None
    return net if net.complete else None


def _other_preparation(net: NetFacts, settings: Settings) -> Iterator[CannotQuantize]:
    """What differs from the settings for which `qat.prepare` made the net."""
    p, first = settings.profile, net.pixels
    if first is not None and any(facts.made_for for facts in net.layers):
        made = "integers" if first.made_for else "float"
        if made != settings.first_layer:
            yield CannotQuantize(f"qat.prepare made its first layer for {made}", first_layer=made)
    for facts in (*([] if first is None else [first]), *net.layers):
        tensor = p.thresholds == "layer" or facts.compared or not facts.fires or len(facts.weight) == 1
        asked: dict[str, Any] = {  # None: as it was made
            "bits": settings.bits_of(net),
            "step of weights": p.weight_step,
            "without biases": not p.bias_bits,
            "granularity": "tensor" if tensor else settings.granularity,
            "pixel bits": settings.bits and min(settings.bits, scales.MOST_PIXEL_BITS),
            "largest pixel threshold": scales.most_current(p)[1],
        }
        for name, made in facts.made_for.items():
            if asked[name] not in (None, made):
                problem = f"{name}: {asked[name]!r} for profile {p.name}, qat.prepare made the net for {made!r}"
                yield CannotQuantize(problem, "call qat.prepare with this profile and these settings")


def _obstacles(facts: StepFacts, settings: Settings) -> Iterator[CannotQuantize]:
    """The decays and biases of a layer that the cores lack."""
    p = settings.profile
    if isinstance(facts, PixelFacts):
        if facts.synaptic_decay:
            yield CannotQuantize(_NO_CURRENT, ", or synaptic_decay = 0.0", encoder="latency")
        return
    for obstacle in (_decay_obstacle(facts.decay, p), _current_obstacle(facts.synaptic_decay, p)):
        if obstacle is not None:
            yield obstacle
    if not (facts.bias.any() or (settings.untrained and facts.has_bias)):
        return
    if facts.synaptic_decay:
        yield CannotQuantize("its biases enter the current, the chip's the membrane", bias=False)
    elif not p.bias_bits and not settings.drop_biases:
        reason = "has none" if p.bias_bits == 0 else "is not known to have any"
        remedy = ", fine-tune with emulator.qat, or drop them with biases='drop' (--drop-biases)"
        yield CannotQuantize(f"it has biases, the chip {reason}", remedy, bias=False)


def check_period(steps: int, what: str, alternative: str, profile: Profile, refusals: Refusals) -> None:
    """Refuse steps for which neurons have to be silent after their spike, if the chip has fewer."""
    limit = profile.single_spike_steps
    if profile.single_spike == "refractory" and limit is not None and steps > limit:
        problem = f"{what} need a refractory period of {steps} steps, profile {profile.name} has {limit}"
        refusals.append(CannotQuantize(problem, f" or less{alternative}", steps=limit))


def check_signs(layer: Layer, profile: Profile, refusals: Refusals) -> None:
    """Refuse integers that give a source weights of both signs, where it can have one."""
    weight = layer.weight.reshape(len(layer.weight), -1, layer.groups, layer.out_shape[2] // layer.groups)
    both = ((weight > 0).any((1, 3)) & (weight < 0).any((1, 3))).any()
    if profile.weight_sign == "source" and (both or layer.shortcut is not None):
        problem = "a source has weights of both signs" if both else "a residual block gives a source two weights"
        refusals.append(CannotQuantize(f"{problem}, the profile has one sign per source", "choose another chip"))


def _decay_obstacle(decay: float, profile: Profile) -> CannotQuantize | None:
    """Why the cores of a profile cannot decay a membrane so; None if they can."""
    bits, register = profile.decay_bits, profile.membrane
    if profile.leak == "shift":
        return _shift_obstacle("decay", decay, profile)
    if decay > 1:
        return CannotQuantize(f"decay {decay:g} makes the membrane grow, the cores' cannot", decay=1.0)
    if decay == 1:
        return None
    if bits == 0:
        return CannotQuantize(f"decay {decay:g} needs a leak, the chip has none", decay=1.0)
    if not 0 < round(decay * (1 << bits)) < 1 << bits:
        return CannotQuantize(f"decay {decay:g} is not representable in {bits} bits", "change decay")
    if max(-register.low, register.high) > 1 << (LARGEST_LEAKING_BITS - 1):
        bound = f"{LARGEST_LEAKING_BITS} bits with a sign, {LARGEST_LEAKING_BITS - 1} without"
        problem = f"decay {decay:g} needs a membrane of at most {bound}; the chip's has {profile.membrane_bits}"
        return CannotQuantize(problem, ", or fewer membrane_bits in your own profile", decay=1.0)
    return None


def _current_obstacle(synaptic_decay: float, profile: Profile) -> CannotQuantize | None:
    """The same of a synaptic current."""
    if profile.leak == "shift":
        return _shift_obstacle("synaptic_decay", synaptic_decay, profile)
    if synaptic_decay and not (profile.current and _kept(synaptic_decay, profile)):
        return CannotQuantize(_NO_CURRENT, synaptic_decay=0.0)
    return None


def _shift_obstacle(what: str, decay: float, profile: Profile) -> CannotQuantize | None:
    if 0 < _kept(decay, profile) <= profile.decay_bits:
        return None
    known = f"1 - 2^-k, k from 1 to {profile.decay_bits}"
    return CannotQuantize(f"the chip has no {what} {decay:g}, only {known}", ", say", **{what: 0.9375})


def leak_of(decay: float, synaptic_decay: float, profile: Profile) -> dict[str, Any]:
    """How a neuron of a program leaks: the fields of `StepNeuron`; where the cores cannot, it does not."""
    current = _kept(synaptic_decay, profile) if synaptic_decay and _current_obstacle(synaptic_decay, profile) is None else None
    if (decay == 1 and current is None) or _decay_obstacle(decay, profile) is not None:
        return {"current": current}
    bits = profile.decay_bits if profile.leak == "scale" else 0
    return {"current": current, "keep": _kept(decay, profile), "decay_bits": bits, "leak": profile.leak}


def late(synaptic_decay: float, profile: Profile) -> float:
    """The share of an event that its current has when it first acts: where leaks are shifts, it leaked once."""
    return synaptic_decay if profile.leak == "shift" and synaptic_decay else 1.0


def _kept(decay: float, profile: Profile) -> int:
    """What a register keeps per step: a share in 1 / 2^decay_bits; of a leak by shift the shift, 0 where there is none."""
    if profile.leak == "scale":
        return round(decay * (1 << profile.decay_bits))
    exact = decay < 1 and math.frexp(1 - decay)[0] == 0.5
    return round(-math.log2(1 - decay)) if exact else 0
