"""Placement: what layers need of cores and which limits they exceed, which neurons sit on which core, what a chip refuses."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from .._base.checks import instance
from .export.core import block_rams, sizes
from .export.layout import Layout
from .program import profile as profiles
from .program.layers import Layer, Shape, Synapses
from .program.profile import CoreKind, Fpga, Profile
from .program.program import Program, Refusal
from .quantization.facts import net_to_read, read
from .quantization.integers import integers
from .quantization.obstacles import Settings
from .quantization.refusals import Refusals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REMEDIES = {  # the setting that avoids the lack of a resource
    "shortcuts of residual blocks": "leave residual blocks out of spec",
    "layers that it feeds": "leave residual blocks out of spec",
    "kernel side": "use smaller kernels in spec",
    "stride": "use a stride that the chip has",
    "padding": "use less padding",
    "pool": "use a pool that the chip has",
    "features": "use fewer channels in spec",
    "output side": "pool or stride more in spec",
    "kernel entries": "use fewer inputs or channels in spec: pool more before a fully connected layer",
    "neuron entries": "use fewer channels, or pool more",
    "a core with both kernel and neuron memory": "use smaller kernels, fewer channels, or pool more",
    "thresholds": 'quantise with one scale per "tensor"',
    "neurons": "make the layers smaller",
    "axons in": "make the layer before it smaller, or pool by MP: all inputs of an AP count",
    "fan-in of a neuron": "make the layer before it smaller, or use smaller kernels",
    "axons out": "make the layer smaller",
    "synapse bits": "make the layer smaller, or use fewer weight bits",
    "a core of its own": "use fewer layers",
    "block RAMs": "make this layer smaller, use fewer weight bits, or take a larger FPGA",
}


class DoesNotFit(Refusal):
    """A program that a chip cannot hold. layer, resource, required, available, remedy: the parts of the message.

    Examples
    --------
    >>> profile = emulator.profile.load("generic8").replace(cores=(emulator.profile.CoreKind(count=1, neurons=8),))
    >>> emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8), profile))
    Traceback (most recent call last):
        ...
    firstspike.emulator.placement.DoesNotFit: ...
    """

    def __init__(self, layer: str, resource: str, required: object, available: object, wording: str = "{}") -> None:
        self.resource, self.required, self.available = wording.format(resource), required, available
        problem = f"{self.resource}: required {required}, available {available}"
        super().__init__(layer, problem, REMEDIES[resource])


@dataclass(frozen=True)
class Sources:
    """A set of neurons by layer (-1: the net's input): masks [height, width, channels] or [height, width, 1], maps' shapes."""

    masks: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    shapes: Mapping[int, Shape] = field(default_factory=dict)

    def __or__(self, other: Sources) -> Sources:
        both = {n: self.masks[n] | other.masks[n] for n in self.masks.keys() & other.masks.keys()}
        return Sources({**self.masks, **other.masks, **both}, {**self.shapes, **other.shapes})

    def count(self) -> int:
        """Number of neurons."""
        channels = {n: self.shapes[n][2] // mask.shape[2] for n, mask in self.masks.items()}
        return sum(int(np.count_nonzero(mask)) * channels[n] for n, mask in self.masks.items())

    def neurons(self, layer: int) -> NDArray[np.bool_]:
        """Which neurons of a layer (one of `masks`), bool [neurons], in the order row, column, channel."""
        return np.broadcast_to(self.masks[layer], self.shapes[layer]).ravel()


@dataclass
class Slot:
    """Neurons `first` to `last` (exclusive; numbered row, column, channel) of a layer on a core, and their needs.

    axons_in: without sources of an earlier slot. axons_out: pairs of a neuron and a core. memory: bits, or kernel entries.
    limits: of the core, by the names of `shares`.
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
    limits: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.last - self.first

    def shares(self) -> dict[str, float | None]:
        """Which part it takes of its core's neurons, memory and axons in; None if the core's limit is unknown."""
        neurons = self.neurons if self.neuron_entries is None else self.neuron_entries
        used = {"neurons": neurons, "memory": self.memory, "axons_in": self.axons_in}
        limits = {name: self.limits.get(name) for name in used}
        # Nothing is used of a limit of 0.
        return {name: None if limit is None else used[name] / max(limit, 1) for name, limit in limits.items()}


@dataclass(frozen=True)
class Link:
    """`neurons` neurons of a layer, on `core`, with a synapse to a neuron on core `target`.

    Layer -1 is the first one, on pixels, where it is on cores; else the input, whose core is None.
    """

    layer: int
    core: int | None
    target: int
    neurons: int


class Costs:
    """Needs of neurons `first` to `last` (exclusive) of a layer. bits: the narrowest width that holds the layer's integers."""

    def __init__(self, layer: Layer, index: int, profile: Profile) -> None:
        self.layer, self.index, self.channels = layer, index, layer.out_shape[2]
        self.shared = (profile.shared_weights or profile.convolution_cores) and layer.kind == "conv"
        q = np.concatenate([part.weight.ravel() for part in layer.inputs]).astype(np.int64) // profile.weight_step
        low, high = q.min(initial=0), q.max(initial=0)
        self.bits = next(bits for bits in range(2, 33) if -(1 << bits - 1) <= low and high < 1 << bits - 1)
        fan_in = np.zeros((prod(layer.out_shape[:2]), self.channels), np.int64)
        for part in layer.inputs:
            fan_in[:, : part.outputs] += part.sources_per_site().reshape(-1, 1) * part.fan_channels
        self._before = np.concatenate([[0], np.cumsum(fan_in)])
        self.neediest = int(fan_in.argmax())  # the first of the neurons with the most synapses
        self._every_theta = frozenset(np.unique(layer.theta).tolist()) if layer.fires else frozenset()

    def synapses(self, first: int, last: int) -> int:
        """Stored weights: the complete kernel table if it is shared, else one per synapse."""
        if self.index < 0:  # its neurons have a bias each, and no synapses
            return 0
        if self.shared:
            return self.layer.stored_weights
        return int(self._before[last] - self._before[first])

    def sources(self, first: int, last: int) -> Sources:
        """The neurons with a synapse to these neurons; in grouped convolutions as if every group reached them."""
        found = Sources()
        for part in self.layer.inputs if self.index >= 0 else ():
            pooled = self._pooled_sites(part, first, last)
            spread = pooled.repeat(part.pool, axis=0).repeat(part.pool, axis=1)
            reached = np.zeros((*part.in_shape[:2], pooled.shape[2]), dtype=np.bool_)
            reached[: len(spread), : spread.shape[1]] = spread
            found |= Sources({part.source: reached}, {part.source: part.in_shape})
        return found

    def _pooled_sites(self, part: Synapses, first: int, last: int) -> NDArray[np.bool_]:
        """The places of the pooled map with a synapse to these neurons, [height, width, channels or 1]."""
        height, width, channels = part.pooled_shape
        if part.kind == "linear":
            return np.ones((height, width, 1), dtype=np.bool_)
        neurons = np.zeros(self.layer.neurons, dtype=np.bool_)
        neurons[first:last] = True
        outputs: NDArray[np.bool_] = neurons.reshape(self.layer.out_shape)
        outputs = outputs[..., :channels] if part.kind == "diagonal" else np.logical_or.reduce(outputs, 2, keepdims=True)
        (rows, columns), (down, across), (top, left) = part.kernel, part.stride, part.padding
        tall, wide = down * outputs.shape[0], across * outputs.shape[1]
        padded = np.zeros((tall + rows + height + top, wide + columns + width + left, outputs.shape[2]), dtype=np.bool_)
        for y, x in np.ndindex(rows, columns):  # the sites under each tap of the kernel
            padded[y : y + tall : down, x : x + wide : across] |= outputs
        return padded[top : top + height, left : left + width]

    def thetas(self, first: int, last: int) -> frozenset[int]:
        """Distinct thresholds of these neurons; none for a layer that never fires."""
        if not self.layer.fires or last - first >= self.channels:
            return self._every_theta
        return frozenset(self.layer.theta[np.arange(first, last) % self.channels].tolist())


def refusals(program: Program) -> Iterator[DoesNotFit]:
    """What a chip refuses of each layer, whatever its cores hold: kernels, strides, pools, fan-in, layers that it feeds."""
    most = program.profile.max_destinations
    for index, layer in enumerate(program.layers):
        for resource, required, available in _excess(layer, program.profile):
            yield DoesNotFit(layer.name, resource, required, available)
        if most is not None and (fed := len(program.listeners(index))) > most:
            yield DoesNotFit(layer.name, "layers that it feeds", fed, most)


def _excess(layer: Layer, profile: Profile) -> Iterator[tuple[str, int, object]]:
    on_convolution_core = profile.convolution_cores  # where a fully connected layer is a convolution as well
    if layer.shortcut is not None and on_convolution_core:  # such a core gives every event the same kernel
        yield "shortcuts of residual blocks", 1, 0
    limits: list[tuple[str, int, int | None]] = [("fan-in of a neuron", layer.fan_in, profile.max_fan_in)]
    allowed: list[tuple[str, int, tuple[int, ...] | None]] = []
    if on_convolution_core or profile.thresholds == "layer":
        different = len(np.unique(layer.theta)) if layer.fires else 0
        one = 1 if profile.thresholds == "layer" else profile.thresholds_per_core
        limits.insert(0, ("thresholds", different, one))
    if layer.pool > 1:
        allowed.append(("pool", layer.pool, profile.pools))
    if layer.kind == "conv" or on_convolution_core:
        _, kernel_h, kernel_w, features = as_convolution(layer)
        limits += [
            ("kernel side", max(kernel_h, kernel_w), profile.max_kernel),
            ("padding", max(layer.padding), profile.max_padding),
            ("features", features, profile.max_features),
            ("output side", max(layer.out_shape[:2]), profile.max_output_side),
        ]
    if layer.kind == "conv":
        allowed += [("stride", stride, profile.strides) for stride in sorted(set(layer.stride))]
    yield from ((name, required, limit) for name, required, limit in limits if limit is not None and required > limit)
    for name, value, values in allowed:
        if values is not None and value not in values:
            yield name, value, " or ".join(map(str, values))


def as_convolution(layer: Layer) -> tuple[int, int, int, int]:
    """(channels, kernel height, kernel width, features); a linear layer is a kernel as large as its map."""
    height, width, channels = layer.pooled_shape
    return channels, *(layer.kernel if layer.kind == "conv" else (height, width)), layer.out_shape[2]


@dataclass(frozen=True)
class Placement:
    """Where a program's neurons are: slots, one per layer and core, and links between cores.

    Parameters
    ----------
    program : what was placed.
    slots : one per layer and core.
    links : between cores.
    available : cores of the profile.

    Examples
    --------
    >>> placement = emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8)))
    >>> placement.cores_used, placement.table()[["layer", "core", "neurons"]].values.tolist()
    (1, [['0:DirectLinear', 0, 32], ['1:Integrate', 0, 10]])
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
            for name in (self.program.layer(s.layer).name,)
        ]
        return pd.DataFrame(rows, columns=columns)

    def figure(self) -> Figure:
        """How full each core is, by resource, coloured by layer; "unknown" where a core's limit is unknown."""
        from ..report import figure, line_style, style

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
                    fill["label"] = f"{self.program.layer(slot.layer).name}, {title}"
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

    Layers are placed in their order, split by output neuron, each part on the first core where it fits. If a core takes one
    layer (convolution cores), a maximum matching assigns layers to cores. `place` checks neurons, axons in and out, synapse
    memory and thresholds of each core. Of each layer it checks fan-in, kernel size, stride, pool, padding, features, size of
    the output, and how many layers it feeds. On an FPGA it checks the block RAMs. A convolution is one table if the profile
    shares weights, else it is unrolled.

    Parameters
    ----------
    program : from `quantize`.

    Examples
    --------
    >>> emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8))).cores_used
    1
    """
    instance("program", program, Program, "a firstspike.emulator.Program")
    for refusal in refusals(program):
        raise refusal
    if program.profile.fpga is not None:
        _fit(program, program.profile.fpga)
    if program.profile.convolution_cores:
        slots, heard = assign(program)
        made = _links(slots, heard)
    else:
        slots, made = _first_fit(program)
    return Placement(program, slots, made, sum(kind.count for kind in program.profile.cores))


def _fit(program: Program, fpga: Fpga) -> None:
    """Raise a Refusal for what the core of `export_rtl` cannot compute, or DoesNotFit for what the FPGA cannot hold."""
    needed = block_rams(sizes(Layout(program), fpga.multipliers))
    if needed > fpga.block_rams:
        largest = max(program.layers, key=lambda layer: layer.stored_weights)
        raise DoesNotFit(largest.name, "block RAMs", needed, fpga.block_rams)


def _first_fit(program: Program) -> tuple[list[Slot], list[Link]]:
    """First fit; where a core lacks axons out, again with fewer neurons of the layer on cores of its kind, until all suffice."""
    kinds = [kind for kind in program.profile.cores for _ in range(kind.count)]
    first = -1 if program.first_on_cores else 0
    needs = [Costs(program.layer(index), index, program.profile) for index in range(first, len(program.layers))]
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
        name = program.layer(worst.layer).name
        refusal = refusal or DoesNotFit(name, "axons out", used[core], limits[core], f"{{}} of core {core}")
        fewer = max(1, int(0.9 * worst.neurons / share[core]))
        caps[worst.layer, kinds[core]] = min(fewer, worst.neurons - 1)  # 0: none on cores of this kind


def _links(slots: list[Slot], heard: Mapping[int, Sources]) -> list[Link]:
    """The links between parts of layers, in order of neurons; sets each slot's `axons_out`. heard: by core, the sources of all
    of its neurons."""
    cores: dict[int, list[int | None]] = {}
    starts: dict[int, list[int]] = {}
    if all(slot.layer >= 0 for slot in slots):
        cores[-1], starts[-1] = [None], [0]
    for slot in slots:
        cores.setdefault(slot.layer, []).append(slot.core)
        starts.setdefault(slot.layer, []).append(slot.first)
    found: list[Link] = []
    out: Counter[tuple[int, int | None]] = Counter()
    for target, sources in heard.items():
        for layer in sources.masks:
            counts = np.add.reduceat(sources.neurons(layer), starts[layer], dtype=np.int64)
            found += [Link(layer, cores[layer][n], target, int(counts[n])) for n in np.flatnonzero(counts)]
    for link in found:
        out[link.layer, link.core] += link.neurons
    for slot in slots:
        slot.axons_out = out[slot.layer, slot.core]
    return found


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
        neuron, first, neurons, name = costs.neediest, 0, costs.layer.neurons, costs.layer.name
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
    return channels << (kernel_h * kernel_w - 1).bit_length() + (features - 1).bit_length()


def neuron_entries(layer: Layer) -> int:
    """Entries of a core's neuron memory: f 2^(ceil(log2 fy) + ceil(log2 fx)) (sinabs documentation)."""
    height, width, features = layer.out_shape
    return features << (height - 1).bit_length() + (width - 1).bit_length()


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


@dataclass(frozen=True)
class Finding:
    """One reason why a chip refuses a net. layer: its label, "net" for the complete net. remedy: what avoids it.

    setting: the value that the remedy gives to an argument of `train.Config` or `quantize`, by its name; empty if it names none.
    """

    layer: str
    problem: str
    remedy: str
    setting: dict[str, Any]


@dataclass(frozen=True)
class Check:
    """The result of `check`.

    Parameters
    ----------
    profile : the name of the profile.
    findings : what does not fit: layer, problem, remedy.
    cores_used, cores_available : of the placement; None without one.
    exact_layers : `Program.exact_layers`, the layers that keep the integers of an n-bit net.

    Examples
    --------
    >>> found = emulator.check(models.mlp("64-32-10", steps=8), "generic8")
    >>> found.fits, found.findings, found.cores_used
    (True, [], 1)
    """

    profile: str
    findings: list[Finding]
    cores_used: int | None
    cores_available: int | None
    exact_layers: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """True if the chip takes the net."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The fields and `fits` as JSON values."""
        return asdict(self) | {"fits": self.fits}

    def text(self) -> str:
        """One line: that the net fits, or what to change, with the layers and the reason of each change."""
        if self.fits:
            exact = f"; integer weights and levels kept exactly in {', '.join(self.exact_layers)}" if self.exact_layers else ""
            return f"{self.profile}: fits, {self.cores_used} of {self.cores_available} cores{exact}\n"
        layers: dict[tuple[str, str], list[str]] = {}
        for f in self.findings:
            layers.setdefault((f.remedy, f.problem), []).append(f.layer)
        told = (f"{remedy} ({', '.join(names)}: {problem})" for (remedy, problem), names in layers.items())
        return f"{self.profile}: does not fit; {'; '.join(told)}\n"


def check(model: nn.Module, profile: str | os.PathLike[str] | Profile = "generic8") -> Check:
    """Collect the refusals of `quantize` and `place`: biases, leaks, layers, steps, and what cores cannot hold.

    Layers after one that no core holds are not looked at.

    Parameters
    ----------
    model : as in `quantize`; it may be untrained. A layer with biases counts as one that uses them.
    profile : a name, a TOML file, or a `Profile`.

    Examples
    --------
    >>> net = models.build("784-400-10", input_shape=(784,), steps=8, bias=False)
    >>> emulator.check(net, "odin-like").findings[0].remedy
    'make the layer before it smaller, or pool by MP: all inputs of an AP count'
    """
    target, refused = profiles.load(profile), Refusals()
    found: list[Refusal] = []
    placement: Placement | None = None
    program = integers(read(net_to_read(model), refused), Settings(target, untrained=True), refused)
    try:
        if program is not None:
            found += refusals(program)
            placement = None if found else place(program)
    except Refusal as error:
        found.append(error)
    findings = [Finding(one.layer, one.problem, one.remedy, one.setting) for one in (*refused, *found)]
    if placement is None:
        return Check(target.name, findings, None, None)
    return Check(target.name, findings, placement.cores_used, placement.available, placement.program.exact_layers)
