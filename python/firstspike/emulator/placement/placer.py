"""Placement: first fit of neurons on cores, and the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..._base.checks import instance
from ..program.layers import Layer
from ..program.profile import CoreKind, Profile
from ..program.program import Program
from .cores import Costs, DoesNotFit, Link, Slot, Sources, links, refusals
from .matching import assign

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Placement:
    """Where a program's neurons are.

    slots: one entry per layer and core, in order of layers. links: how many neurons of which core have a synapse to which core.

    Examples:
        >>> placement = emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8)))
        >>> placement.cores_used, placement.table()[["layer", "core", "neurons"]].values.tolist()
        (1, [['1:Integrate', 0, 10]])
    """

    program: Program
    slots: list[Slot]
    links: list[Link]
    available: int

    @property
    def cores_used(self) -> int:
        """Number of cores that hold something."""
        return len({slot.core for slot in self.slots})

    def table(self) -> pd.DataFrame:
        """One row per layer and core: neurons, axons in (without those of sources that a row above has on the core) and out,
        synapse memory, thresholds."""
        return pd.DataFrame([slot.row(self.program.layers[slot.layer].name) for slot in self.slots])

    def figure(self) -> Figure:
        """How full each core is, by resource: the share of its neurons, synapse memory and axons in, coloured by layer.

        "unknown" stands where a core's limit is unknown.
        """
        from ...report import figure, line_style

        cores, resources = sorted({slot.core for slot in self.slots}), _resources(self.program)
        drawn, axes = figure()
        pitch = 0.8 / len(resources)
        handles: dict[str, Any] = {}
        for offset, (resource, title) in enumerate(resources.items()):
            filled: dict[int, float] = {}
            x = {core: at + pitch * (offset - (len(resources) - 1) / 2) for at, core in enumerate(cores)}
            for slot in self.slots:
                if (share := slot.shares()[resource]) is None:
                    continue
                below = filled.get(slot.core, 0.0)
                style: Any = {"color": line_style(slot.layer).color, "alpha": (1.0, 0.6, 0.3)[offset]}
                bars = axes.bar(x[slot.core], 100 * share, 0.9 * pitch, bottom=below, **style)
                handles.setdefault(f"{self.program.layers[slot.layer].name}, {title}", bars)
                filled[slot.core] = below + 100 * share
            for core in set(cores) - set(filled):
                axes.text(x[core], 0, "unknown", rotation=90, ha="center", va="bottom", fontsize="x-small")
        if handles:
            drawn.legend(list(handles.values()), list(handles), fontsize="x-small", loc="outside upper center", ncols=3)
        else:
            axes.set_ylim(0, 100)
        axes.set_xlim(-0.6, len(cores) - 0.4)
        every = -(-len(cores) // 24)  # so that numbers of many cores do not overlap
        axes.set_xticks(range(0, len(cores), every), [str(core) for core in cores[::every]])
        axes.set_xlabel("core")
        axes.set_ylabel("used (%)")
        return drawn


def place(program: Program) -> Placement:
    """Put a program on its profile's cores.

    Layers go in order, split by output neuron, first fit over the cores; if each core takes one layer (convolution cores),
    by maximum matching of layers and cores. Checked are neurons, axons in and out, synapse memory and thresholds per core,
    and of each layer fan-in, kernel size, stride, pool, padding, features, size of the output and how many layers it feeds.
    Convolutions are shared tables if the profile shares weights, else unrolled.

    Parameters
    ----------
    program : Program

    Returns
    -------
    Placement

    Raises
    ------
    DoesNotFit
        Naming layer, resource, required and available amounts, and a remedy.

    Examples
    --------
    >>> emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8))).cores_used
    1
    """
    instance("program", program, Program, "a firstspike.emulator.Program")
    for refusal in refusals(program):
        raise refusal
    if program.profile.convolution_cores:
        slots, heard = assign(program)
        made = _links(slots, heard)
    else:
        slots, made = _first_fit(program)
    return Placement(program, slots, made, sum(kind.count for kind in program.profile.cores))


def _first_fit(program: Program) -> tuple[list[Slot], list[Link]]:
    """First fit; where a core lacks axons out, again with fewer neurons of the layer on cores of its kind, until all suffice."""
    kinds = [kind for kind in program.profile.cores for _ in range(kind.count)]
    needs = [Costs(layer, index, program.profile.shared_weights) for index, layer in enumerate(program.layers)]
    caps: dict[tuple[int, CoreKind], int] = {}
    refusal: DoesNotFit | None = None
    while True:
        try:
            slots, heard = first_fit(program, needs, caps)
        except DoesNotFit as error:
            raise refusal or error from None
        made = _links(slots, heard)
        used: Counter[int] = Counter()
        for slot in slots:
            used[slot.core] += slot.axons_out
        limits = {core: limit for core in used if (limit := kinds[core].axons_out) is not None}
        share = {core: used[core] / max(limit, 1) for core, limit in limits.items() if used[core] > limit}
        if not share:
            return slots, made
        core = max(share, key=share.__getitem__)
        worst = max((slot for slot in slots if slot.core == core), key=lambda slot: slot.axons_out)
        name = program.layers[worst.layer].name
        refusal = refusal or DoesNotFit(name, "axons out", used[core], limits[core], f"{{}} of core {core}")
        fewer = max(1, int(0.9 * worst.neurons / share[core]))
        caps[worst.layer, kinds[core]] = min(fewer, worst.neurons - 1)  # 0: none on cores of this kind


def _links(slots: list[Slot], heard: Mapping[int, Sources]) -> list[Link]:
    """The links of a placement; sets each slot's `axons_out`."""
    made = links(slots, heard)
    out: Counter[tuple[int, int | None]] = Counter()
    for link in made:
        out[link.layer, link.core] += link.neurons
    for slot in slots:
        slot.axons_out = out[slot.layer, slot.core]
    return made


def _resources(program: Program) -> dict[str, str]:
    """What cores have only so much of, by the names of `Slot.shares`, and in words; convolution cores do not count axons."""
    made = {"neurons": "neurons", "memory": "synapse memory", "axons_in": "axons in"}
    if program.profile.convolution_cores:
        del made["axons_in"]
    return made


def use(placement: Placement) -> dict[str, float | None]:
    """Cores used, and the largest share of any core's neurons, synapse memory and axons in that is in use.

    Shares are of the cores whose limit is known; None where none is.
    """
    made: dict[str, float | None] = {"cores_used": placement.cores_used, "cores_available": placement.available}
    for resource in _resources(placement.program):
        total: dict[int, float] = {}
        for slot in placement.slots:
            share = slot.shares()[resource]
            if share is not None:
                total[slot.core] = total.get(slot.core, 0.0) + share
        made[f"fullest_core_{resource}"] = max(total.values(), default=None)
    return made


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
    tables = [layer.weight.ravel()] if layer.shortcut is None else [layer.weight.ravel(), layer.shortcut.weight]
    q = np.concatenate(tables).astype(np.int64) // profile.weight_step
    low, high = q.min(initial=0), q.max(initial=0)
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
            return "thresholds", groups, most
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
    """Raise DoesNotFit if no empty core holds a single neuron: the one that needs most."""
    neuron = costs.neediest()
    short = [_shortage(costs, _Core(kind), neuron, neuron + 1, bits, profile) for kind in profile.cores]
    if None not in short:
        best = max((shortage for shortage in short if shortage is not None), key=lambda shortage: shortage[2])
        raise DoesNotFit(costs.layer.name, *best, "{} for one neuron")


def _refusal(costs: Costs, first: int, bits: int, cores: list[_Core], profile: Profile) -> DoesNotFit:
    """Why the neurons from `first` on have no place: the resource that most cores lack."""
    short = [_shortage(costs, core, first, first + 1, bits, profile) for core in cores]
    lacking = Counter(shortage[0] for shortage in short if shortage is not None)
    # No core lacks anything if `caps` alone kept neurons off it.
    resource = lacking.most_common(1)[0][0] if lacking else "axons out"
    required, available = f"{costs.layer.neurons} neurons", f"{first} on the {len(cores)} cores of {profile.name}"
    return DoesNotFit(costs.layer.name, resource, required, available, "cores for its neurons ({} used up)")
