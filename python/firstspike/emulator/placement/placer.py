"""Placement: first fit of neurons on cores, or, on unequal convolution cores, a matching of layers; and the result."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..._base.checks import instance
from ..program.layers import Layer
from ..program.profile import CoreKind
from ..program.program import Program
from .cores import Costs, DoesNotFit, Link, Slot, Sources, as_convolution, links, refusals

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Placement:
    """Where a program's neurons are: slots, one per layer and core, and links between cores.

    Examples
    --------
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
        columns = ["layer", "core", "neurons", "first", "last", "axons_in", "axons_out", "synapse_memory", "thresholds"]
        rows = [
            (name, s.core, s.neurons, s.first, s.last - 1, s.axons_in, s.axons_out, s.memory, s.thresholds)
            for s in self.slots
            for name in (self.program.layers[s.layer].name,)
        ]
        return pd.DataFrame(rows, columns=columns)

    def figure(self) -> Figure:
        """How full each core is, by resource, coloured by layer; "unknown" where a core's limit is unknown."""
        from ...report import figure, line_style, style

        cores, resources = sorted({slot.core for slot in self.slots}), _resources(self.program)
        drawn, axes = figure()
        pitch = 0.8 / len(resources)
        for offset, (resource, title) in enumerate(resources.items()):
            filled: dict[int, float] = {}
            x = {core: at + pitch * (offset - (len(resources) - 1) / 2) for at, core in enumerate(cores)}
            for slot in self.slots:
                if (share := slot.shares()[resource]) is not None:
                    below = filled.get(slot.core, 0.0)
                    fill: Any = {"color": line_style(slot.layer).color, "alpha": (1.0, 0.6, 0.3)[offset]}
                    fill["label"] = f"{self.program.layers[slot.layer].name}, {title}"
                    axes.bar(x[slot.core], 100 * share, 0.9 * pitch, bottom=below, **fill)
                    filled[slot.core] = below + 100 * share
            for core in set(cores) - set(filled):
                axes.text(x[core], 0, "unknown", rotation=90, ha="center", va="bottom", fontsize="x-small")
        bars, names = axes.get_legend_handles_labels()
        if named := dict(zip(names, bars, strict=True)):
            with style():
                drawn.legend(named.values(), named, fontsize="x-small", loc="outside upper center", ncols=3)
        else:
            axes.set_ylim(0, 100)
        axes.set(xlim=(-0.6, len(cores) - 0.4), xlabel="core", ylabel="used (%)")
        every = -(-len(cores) // 24)  # so that numbers of many cores do not overlap
        axes.set_xticks(range(0, len(cores), every), [str(core) for core in cores[::every]])
        return drawn


def place(program: Program) -> Placement:
    """Put a program on its profile's cores; DoesNotFit names layer, resource, required and available amounts, and a remedy.

    Layers go in order, split by output neuron, first fit over the cores; if each core takes one layer (convolution cores),
    by maximum matching of layers and cores. Checked are neurons, axons in and out, synapse memory and thresholds per core,
    and of each layer fan-in, kernel size, stride, pool, padding, features, size of the output and how many layers it feeds.
    Convolutions are shared tables if the profile shares weights, else unrolled.

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
    needs = [Costs(layer, index, program.profile) for index, layer in enumerate(program.layers)]
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
    """The limited resources of cores in words, by the names of `Slot.shares`; convolution cores do not count axons."""
    axons = {} if program.profile.convolution_cores else {"axons_in": "axons in"}
    return {"neurons": "neurons", "memory": "synapse memory", **axons}


def use(placement: Placement) -> dict[str, float | None]:
    """Cores used, and the largest share of any core's neurons, synapse memory and axons in; None if no limit is known."""
    fullest: dict[str, float | None] = {}
    for resource in _resources(placement.program):
        total: defaultdict[int, float] = defaultdict(float)
        for slot in placement.slots:
            if (share := slot.shares()[resource]) is not None:
                total[slot.core] += share
        fullest[f"fullest_core_{resource}"] = max(total.values(), default=None)
    return {"cores_used": placement.cores_used, "cores_available": placement.available, **fullest}


@dataclass
class _Core:
    """A core while it is filled. most_thetas: how many different thresholds it holds, None for any number."""

    kind: CoreKind
    most_thetas: int | None
    neurons: int = 0
    sources: Sources = field(default_factory=Sources)
    memory: int = 0
    thetas: set[int] = field(default_factory=set)

    def new_axons(self, sources: Sources) -> int:
        """How many of these sources it does not listen to yet."""
        return (self.sources | sources).count() - self.sources.count()

    def shortage(self, costs: Costs, first: int, last: int) -> tuple[str, int, int] | None:
        """The first resource that neurons first to last exceed: (name, required, available)."""
        kind = self.kind
        if kind.neurons is not None and last - first > kind.neurons - self.neurons:
            return "neurons", last - first, kind.neurons - self.neurons
        if kind.synapse_bits is not None:
            memory, left = costs.synapses(first, last) * costs.bits, kind.synapse_bits - self.memory
            if memory > left:
                return "synapse bits", memory, left
        if kind.axons_in is not None:
            axons, left = self.new_axons(costs.sources(first, last)), kind.axons_in - self.sources.count()
            if axons > left:
                return "axons in", axons, left
        if self.most_thetas is not None:
            groups = len(self.thetas | costs.thetas(first, last))
            if groups > self.most_thetas:
                return "thresholds", groups, self.most_thetas
        return None

    def most(self, costs: Costs, first: int, cap: int, guess: int) -> int:
        """The largest `last` such that neurons first to last, at most `cap`, fit, by bisection; `guess` is tried first."""
        low, high = first, min(costs.layer.neurons, first + cap)
        for last in (min(first + guess, high), min(first + guess + 1, high), first + 1):
            if low < last <= high:
                low, high = (last, high) if self.shortage(costs, first, last) is None else (low, last - 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.shortage(costs, first, middle) is None else (low, middle - 1)
        return low

    def put(self, costs: Costs, first: int, last: int, number: int) -> Slot:
        """Put neurons first to last on this core, by its number."""
        sources, memory = costs.sources(first, last), costs.synapses(first, last) * costs.bits
        axons, thetas, kind = self.new_axons(sources), costs.thetas(first, last), self.kind
        self.neurons += last - first
        self.sources |= sources
        self.memory += memory
        if self.most_thetas is not None:
            self.thetas |= thetas
        limits = {"neurons": kind.neurons, "memory": kind.synapse_bits, "axons_in": kind.axons_in}
        return Slot(costs.index, number, first, last, axons, memory, len(thetas), limits=limits)


def first_fit(
    program: Program, needs: Sequence[Costs], caps: Mapping[tuple[int, CoreKind], int]
) -> tuple[list[Slot], dict[int, Sources]]:
    """Slots of all layers, and by core the sources of its neurons; a layer is split wherever a core is full.

    caps: how many neurons of a layer, by its index, a core of some kind takes at most.
    """
    profile = program.profile
    cores = [_Core(kind, profile.thresholds_per_core) for kind in profile.cores for _ in range(kind.count)]
    slots: list[Slot] = []
    for costs in needs:
        neuron, first, neurons, name = costs.neediest(), 0, costs.layer.neurons, costs.layer.name
        empty = (_Core(kind, profile.thresholds_per_core) for kind in profile.cores)
        short = [core.shortage(costs, neuron, neuron + 1) for core in empty]
        if None not in short:  # no empty core holds the neuron that needs most
            best = max((shortage for shortage in short if shortage is not None), key=lambda shortage: shortage[2])
            raise DoesNotFit(name, *best, "{} for one neuron")
        guess = neurons
        for number, core in enumerate(cores):
            if first == neurons:
                break
            if core.kind.neurons is not None and core.neurons >= core.kind.neurons:
                continue
            last = core.most(costs, first, caps.get((costs.index, core.kind), neurons), guess)
            if last > first:
                guess = last - first
                slots.append(core.put(costs, first, last, number))
                first = last
        if first < neurons:
            lacking = Counter(s[0] for core in cores if (s := core.shortage(costs, first, first + 1)) is not None)
            # No core lacks anything if `caps` alone kept neurons off it.
            resource = lacking.most_common(1)[0][0] if lacking else "axons out"
            held = f"{first} on the {len(cores)} cores of {profile.name}"
            raise DoesNotFit(name, resource, f"{neurons} neurons", held, "cores for its neurons ({} used up)")
    return slots, {number: core.sources for number, core in enumerate(cores) if core.neurons}


def kernel_entries(layer: Layer) -> int:
    """Entries of a core's kernel memory: c 2^(ceil(log2 kx ky) + ceil(log2 f)) (sinabs documentation)."""
    channels, kernel_h, kernel_w, features = as_convolution(layer)
    return channels << (_log2(kernel_h * kernel_w) + _log2(features))


def neuron_entries(layer: Layer) -> int:
    """Entries of a core's neuron memory: f 2^(ceil(log2 fy) + ceil(log2 fx)) (sinabs documentation)."""
    height, width, features = layer.out_shape
    return features << (_log2(height) + _log2(width))


def assign(program: Program) -> tuple[list[Slot], dict[int, Sources]]:
    """One core per layer: the slots, and by core the sources of its neurons; DoesNotFit without such a matching."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    profile = program.profile
    cores = [kind for kind in profile.cores for _ in range(kind.count)]
    fits = np.zeros((len(program.layers), len(cores)), bool)
    for index, layer in enumerate(program.layers):
        fits[index] = [_shortage(layer, core) is None for core in cores]
        if not fits[index].any():
            name, required = next(s for s in (_shortage(layer, core) for core in cores) if s is not None)
            best = max(getattr(core, name.replace(" ", "_")) or 0 for core in cores)
            name = name if required > best else "a core with both kernel and neuron memory"
            raise DoesNotFit(layer.name, name, required, best)
    chosen = maximum_bipartite_matching(csr_matrix(fits), perm_type="column")
    if (chosen < 0).any():
        layer = program.layers[int(np.flatnonzero(chosen < 0)[0])]
        needed = f"{len(program.layers)} layers on different cores"
        held = f"{int((chosen >= 0).sum())} matched of {len(cores)} cores"
        raise DoesNotFit(layer.name, "a core of its own", needed, held)
    slots, heard = [], {}
    for index, (layer, core) in enumerate(zip(program.layers, map(int, chosen), strict=True)):
        heard[core] = Costs(layer, index, profile).sources(0, layer.neurons)
        axons, memory = heard[core].count(), kernel_entries(layer)
        thresholds = len(np.unique(layer.theta)) if layer.fires else 0
        limits = {"neurons": cores[core].neuron_entries, "memory": cores[core].kernel_entries}
        entries = neuron_entries(layer)
        slot = Slot(index, core, 0, layer.neurons, axons, memory, thresholds, neuron_entries=entries, limits=limits)
        slots.append(slot)
    return slots, heard


def _shortage(layer: Layer, core: CoreKind) -> tuple[str, int] | None:
    for name, needed in (("kernel entries", kernel_entries(layer)), ("neuron entries", neuron_entries(layer))):
        limit: int | None = getattr(core, name.replace(" ", "_"))
        if limit is not None and needed > limit:
            return name, needed
    return None


def _log2(value: int) -> int:
    return math.ceil(math.log2(value))
