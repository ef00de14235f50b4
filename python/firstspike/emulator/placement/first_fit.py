"""First fit of neurons on cores that can be shared between layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..program.layers import Layer
from ..program.profile import CoreKind, Profile
from ..program.program import Program
from .errors import DoesNotFit


@dataclass
class Slot:
    """Neurons `first` to `last` (exclusive; numbered row, column, channel) of a layer on a core, and what they take
    of it."""

    layer: int
    core: int
    first: int
    last: int
    axons_in: int
    memory: int
    thresholds: int
    axons_out: int = 0
    neurons_available: int | None = None
    memory_available: int | None = None
    axons_out_available: int | None = None

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.last - self.first

    def row(self, name: str) -> dict[str, Any]:
        """The slot as a row of a table."""
        return {
            "layer": name,
            "core": self.core,
            "neurons": self.neurons,
            "first": self.first,
            "last": self.last - 1,
            "axons_in": self.axons_in,
            "axons_out": self.axons_out,
            "synapse_memory": self.memory,
            "thresholds": self.thresholds,
        }


@dataclass
class _Core:
    kind: CoreKind
    neurons: int = 0
    axons_in: int = 0
    memory: int = 0
    thetas: set[int] = field(default_factory=set)


def first_fit(program: Program) -> list[Slot]:
    """Slots of all layers; a layer is cut wherever a core is full. Raises DoesNotFit."""
    profile = program.profile
    cores = [_Core(kind) for kind in profile.cores for _ in range(kind.count)]
    slots: list[Slot] = []
    for index, layer in enumerate(program.layers):
        costs, first, bits = _Costs(layer, profile.shared_weights), 0, _stored_bits(layer, profile)
        for number, core in enumerate(cores):
            if first == layer.neurons:
                break
            last = _most(costs, core, first, bits, profile)
            if last == first:
                continue
            sources, synapses, thetas = (
                costs.axons_in(first, last),
                costs.synapses(first, last),
                costs.thetas(first, last),
            )
            core.neurons += last - first
            core.axons_in += sources
            core.memory += synapses * bits
            core.thetas |= thetas
            slots.append(
                Slot(
                    index,
                    number,
                    first,
                    last,
                    sources,
                    synapses * bits,
                    len(thetas),
                    neurons_available=core.kind.neurons,
                    memory_available=core.kind.synapse_bits,
                    axons_out_available=core.kind.axons_out,
                )
            )
            first = last
        if first < layer.neurons:
            raise _refusal(program, layer, costs, first, bits, cores)
    return slots


def _stored_bits(layer: Layer, profile: Profile) -> int:
    """Bits a stored weight takes: the narrowest width that holds this layer's codes, at most the profile's."""
    codes = layer.weight.astype(np.int64) // profile.weight_step
    return next(
        bits
        for bits in range(2, 33)
        if -(1 << bits - 1) <= codes.min(initial=0) and codes.max(initial=0) < 1 << bits - 1
    )


class _Costs:
    """What neurons first to last of a layer need."""

    def __init__(self, layer: Layer, shared: bool) -> None:
        self.layer, self.shared = layer, shared and layer.kind == "conv"
        self.channels = layer.out_shape[2]
        fan_in = (layer.sources_per_site() * layer.in_shape[2]).ravel()
        self.before = np.concatenate([[0], np.cumsum(np.repeat(fan_in, self.channels))])

    def synapses(self, first: int, last: int) -> int:
        """Stored weights: a whole kernel table where it is shared, else a synapse each."""
        return int(self.layer.weight.size) if self.shared else int(self.before[last] - self.before[first])

    def axons_in(self, first: int, last: int) -> int:
        """Distinct source neurons with a synapse to these neurons."""
        layer, k = self.layer, self.layer.pool
        height, width, channels = layer.pooled_shape
        if layer.kind == "linear":
            return height * width * channels * k * k
        seen = np.zeros((height + 2 * layer.padding[0], width + 2 * layer.padding[1]), bool)
        columns = layer.out_shape[1]
        kernel_h, kernel_w = layer.weight.shape[1:3]
        for site in range(first // self.channels, (last - 1) // self.channels + 1):
            y, x = site // columns * layer.stride[0], site % columns * layer.stride[1]
            seen[y : y + kernel_h, x : x + kernel_w] = True
        inside = seen[layer.padding[0] : layer.padding[0] + height, layer.padding[1] : layer.padding[1] + width]
        return int(inside.sum()) * channels * k * k

    def thetas(self, first: int, last: int) -> set[int]:
        """Distinct thresholds of these neurons; a layer that never fires needs none."""
        if not self.layer.fires:
            return set()
        channels = (
            range(self.channels) if last - first >= self.channels else (n % self.channels for n in range(first, last))
        )
        return {int(self.layer.theta[c]) for c in channels}


def _shortage(
    costs: _Costs, core: _Core, first: int, last: int, bits: int, profile: Profile
) -> tuple[str, int, int] | None:
    """The first resource of a core that neurons first to last exceed: (name, required, available)."""
    needs = (
        ("neurons", last - first, core.kind.neurons, core.neurons),
        ("synapse bits", costs.synapses(first, last) * bits, core.kind.synapse_bits, core.memory),
        ("axons in", costs.axons_in(first, last), core.kind.axons_in, core.axons_in),
    )
    for name, required, limit, used in needs:
        if limit is not None and required > limit - used:
            return name, required, limit - used
    groups = profile.threshold_groups
    if groups is not None and len(core.thetas | costs.thetas(first, last)) > groups:
        return "thresholds per core", len(core.thetas | costs.thetas(first, last)), groups
    return None


def _most(costs: _Costs, core: _Core, first: int, bits: int, profile: Profile) -> int:
    """The largest `last` such that neurons first to last fit the core; every need grows with `last`, so bisection
    finds it."""
    low, high = first, costs.layer.neurons
    while low < high:
        middle = (low + high + 1) // 2
        if _shortage(costs, core, first, middle, bits, profile) is None:
            low = middle
        else:
            high = middle - 1
    return low


def _refusal(program: Program, layer: Layer, costs: _Costs, first: int, bits: int, cores: list[_Core]) -> DoesNotFit:
    for kind in program.profile.cores:
        alone = _shortage(costs, _Core(kind), first, first + 1, bits, program.profile)
        if alone is None:
            return DoesNotFit(
                layer.name,
                "cores for its neurons",
                f"{layer.neurons} neurons",
                f"{first} on the {len(cores)} cores of {program.profile.name}",
            )
    assert alone is not None
    return DoesNotFit(layer.name, f"{alone[0]} for one neuron", alone[1], alone[2])
