"""First fit of neurons on cores that can be shared between layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..program.layers import Layer
from ..program.profile import CoreKind, Profile
from ..program.program import Program
from .axons import Sources
from .costs import Costs
from .errors import DoesNotFit


@dataclass
class Slot:
    """Neurons `first` to `last` (exclusive; numbered row, column, channel) of a layer on a core, and their needs.

    axons_in: sources with a synapse to these neurons, without those that a layer placed on the core before has as well.
    axons_out: pairs of a neuron and a core to which it has a synapse. memory: bits of synapses, or entries of a convolution
    core's kernel memory. neuron_entries: of its neuron memory, None on other cores. available: what the core has of each,
    None where unknown.
    """

    layer: int
    core: int
    first: int
    last: int
    axons_in: int
    memory: int
    thresholds: int
    axons_out: int = 0
    neuron_entries: int | None = None
    neurons_available: int | None = None
    memory_available: int | None = None
    axons_in_available: int | None = None

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.last - self.first

    def shares(self) -> dict[str, float | None]:
        """Which part it takes of its core's neurons, memory and axons in; None where the core's limit is unknown."""
        neurons = self.neurons if self.neuron_entries is None else self.neuron_entries
        return {
            "neurons": _share(neurons, self.neurons_available),
            "memory": _share(self.memory, self.memory_available),
            "axons_in": _share(self.axons_in, self.axons_in_available),
        }

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


def _share(used: int, limit: int | None) -> float | None:
    return None if limit is None else used / max(limit, 1)  # nothing is used of a limit of 0


@dataclass
class _Core:
    kind: CoreKind
    neurons: int = 0
    sources: Sources = field(default_factory=Sources)
    memory: int = 0
    thetas: set[int] = field(default_factory=set)

    def new_axons(self, sources: Sources) -> int:
        """How many of these sources it does not listen to yet."""
        return (self.sources | sources).count() - self.sources.count()


def first_fit(
    program: Program, needs: Sequence[Costs], caps: Mapping[tuple[int, CoreKind], int]
) -> tuple[list[Slot], dict[int, Sources]]:
    """Slots of all layers, and by core the sources of its neurons; a layer is split wherever a core is full.

    needs: the costs of each layer. caps: how many neurons of a layer, by its index, a core of some kind takes at most.
    Raises DoesNotFit.
    """
    profile = program.profile
    cores = [_Core(kind) for kind in profile.cores for _ in range(kind.count)]
    slots: list[Slot] = []
    for index, layer in enumerate(program.layers):
        costs, first, bits = needs[index], 0, _stored_bits(layer, profile)
        _check_one_neuron(costs, bits, profile)
        guess = layer.neurons
        for number, core in enumerate(cores):
            if first == layer.neurons:
                break
            if core.kind.neurons is not None and core.neurons >= core.kind.neurons:
                continue
            cap = caps.get((index, core.kind), layer.neurons)
            last = _most(costs, core, first, cap, guess, bits, profile)
            if last == first:
                continue
            guess = last - first
            slots.append(_put(costs, core, index, number, first, last, bits, profile))
            first = last
        if first < layer.neurons:
            raise _refusal(costs, first, bits, cores, profile)
    return slots, {number: core.sources for number, core in enumerate(cores) if core.neurons}


def _put(
    costs: Costs, core: _Core, index: int, number: int, first: int, last: int, bits: int, profile: Profile
) -> Slot:
    """Put neurons first to last on a core; what they take of it."""
    sources, memory = costs.sources(first, last), costs.synapses(first, last) * bits
    axons, thetas = core.new_axons(sources), costs.thetas(first, last)
    core.neurons += last - first
    core.sources |= sources
    core.memory += memory
    if profile.thresholds_per_core is not None:
        core.thetas |= thetas
    return Slot(
        index,
        number,
        first,
        last,
        axons,
        memory,
        len(thetas),
        neurons_available=core.kind.neurons,
        memory_available=core.kind.synapse_bits,
        axons_in_available=core.kind.axons_in,
    )


def _stored_bits(layer: Layer, profile: Profile) -> int:
    """Bits per stored weight: the narrowest width that holds the integers of this layer, at most the profile's."""
    tables = [layer.weight, *([] if layer.shortcut is None else [layer.shortcut.weight])]
    q = [table.astype(np.int64) // profile.weight_step for table in tables]
    low, high = min(table.min(initial=0) for table in q), max(table.max(initial=0) for table in q)
    return next(bits for bits in range(2, 33) if -(1 << bits - 1) <= low and high < 1 << bits - 1)


def _shortage(
    costs: Costs, core: _Core, first: int, last: int, bits: int, profile: Profile
) -> tuple[str, int, int] | None:
    """The first resource of a core that neurons first to last exceed: (name, required, available)."""
    kind = core.kind
    if kind.neurons is not None and last - first > kind.neurons - core.neurons:
        return "neurons", last - first, kind.neurons - core.neurons
    if kind.synapse_bits is not None:
        memory = costs.synapses(first, last) * bits
        if memory > kind.synapse_bits - core.memory:
            return "synapse bits", memory, kind.synapse_bits - core.memory
    if kind.axons_in is not None:
        axons, left = core.new_axons(costs.sources(first, last)), kind.axons_in - core.sources.count()
        if axons > left:
            return "axons in", axons, left
    if (most := profile.thresholds_per_core) is not None:
        groups = len(core.thetas | costs.thetas(first, last))
        if groups > most:
            return "thresholds per core", groups, most
    return None


def _most(costs: Costs, core: _Core, first: int, cap: int, guess: int, bits: int, profile: Profile) -> int:
    """The largest `last` such that neurons first to last, at most `cap`, fit the core.

    Every need grows with `last`, so that bisection finds it. guess: the number that the core before took, tried first.
    """

    def fits(last: int) -> bool:
        return _shortage(costs, core, first, last, bits, profile) is None

    low, high = first, min(costs.layer.neurons, first + cap)
    for last in (min(first + guess, high), min(first + guess + 1, high), first + 1):
        if low < last <= high:
            low, high = (last, high) if fits(last) else (low, last - 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _check_one_neuron(costs: Costs, bits: int, profile: Profile) -> None:
    """Raise DoesNotFit where no empty core holds a single neuron: the one that needs most."""
    neuron = costs.neediest()
    short = [_shortage(costs, _Core(kind), neuron, neuron + 1, bits, profile) for kind in profile.cores]
    if all(shortage is not None for shortage in short):
        best = max((shortage for shortage in short if shortage is not None), key=lambda shortage: shortage[2])
        raise DoesNotFit(costs.layer.name, f"{best[0]} for one neuron", best[1], best[2])


def _refusal(costs: Costs, first: int, bits: int, cores: list[_Core], profile: Profile) -> DoesNotFit:
    """Why the neurons from `first` on have no place: the resource that most cores lack."""
    lacking = Counter(
        short[0] for core in cores if (short := _shortage(costs, core, first, first + 1, bits, profile)) is not None
    )
    resource = (
        lacking.most_common(1)[0][0] if lacking else "axons out"
    )  # no core lacks anything where `caps` alone kept neurons off it
    return DoesNotFit(
        costs.layer.name,
        f"cores for its neurons ({resource} used up)",
        f"{costs.layer.neurons} neurons",
        f"{first} on the {len(cores)} cores of {profile.name}",
    )
