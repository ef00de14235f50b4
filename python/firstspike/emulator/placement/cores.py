"""What layers need of cores, and which limits of a chip they exceed: sources, synapses, thresholds, kernels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..program.layers import Layer, Shape
from ..program.profile import Profile
from ..program.program import Program, Refusal

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
    "axons in": "make the layer before it smaller, or pool more",
    "fan-in of a neuron": "make the layer before it smaller, or use smaller kernels",
    "axons out": "make the layer smaller",
    "synapse bits": "make the layer smaller, or use fewer weight bits",
    "a core of its own": "use fewer layers",
}


class DoesNotFit(Refusal):
    """A program that a chip cannot hold. layer, resource, required, available, remedy: the parts of the message.

    Examples
    --------
    >>> profile = emulator.profile.load("generic8").replace(cores=(emulator.profile.CoreKind(count=1, neurons=8),))
    >>> emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8), profile))
    Traceback (most recent call last):
        ...
    firstspike.emulator.placement.cores.DoesNotFit: ...
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
    """`neurons` neurons of a layer (-1: the input, core None), on `core`, with a synapse to a neuron on core `target`."""

    layer: int
    core: int | None
    target: int
    neurons: int


def links(slots: Iterable[Slot], heard: Mapping[int, Sources]) -> list[Link]:
    """The links between parts of layers, in order of neurons. heard: by core, the sources of all of its neurons."""
    cores: dict[int, list[int | None]] = {-1: [None]}
    starts: dict[int, list[int]] = {-1: [0]}
    for slot in slots:
        cores.setdefault(slot.layer, []).append(slot.core)
        starts.setdefault(slot.layer, []).append(slot.first)
    found = []
    for target, sources in heard.items():
        for layer in sources.masks:
            counts = np.add.reduceat(sources.neurons(layer), starts[layer], dtype=np.int64)
            found += [Link(layer, cores[layer][n], target, int(counts[n])) for n in np.flatnonzero(counts)]
    return found


class Costs:
    """Needs of neurons `first` to `last` (exclusive) of a layer. bits: the narrowest width that holds the layer's integers."""

    def __init__(self, layer: Layer, index: int, profile: Profile) -> None:
        self.layer, self.index, self.channels = layer, index, layer.out_shape[2]
        self.shared = (profile.shared_weights or profile.convolution_cores) and layer.kind == "conv"
        tables = [layer.weight.ravel()] if layer.shortcut is None else [layer.weight.ravel(), layer.shortcut.weight]
        q = np.concatenate(tables).astype(np.int64) // profile.weight_step
        low, high = q.min(initial=0), q.max(initial=0)
        self.bits = next(bits for bits in range(2, 33) if -(1 << bits - 1) <= low and high < 1 << bits - 1)
        self._fan_in = (layer.sources_per_site() * layer.in_shape[2]).ravel()
        self._before = np.concatenate([[0], np.cumsum(self._fan_in * self.channels)])
        self._every_theta = frozenset(np.unique(layer.theta).tolist()) if layer.fires else frozenset()

    def neediest(self) -> int:
        """The neuron with the most synapses, the first of them (with the shortcut's, which the first channel has)."""
        return int(self._fan_in.argmax()) * self.channels

    def synapses(self, first: int, last: int) -> int:
        """Stored weights: the complete kernel table if it is shared, else one per synapse."""
        if self.shared:
            return self.layer.stored_weights
        return self._synapses_before(last) - self._synapses_before(first) + self._shortcuts(first, last)

    def _shortcuts(self, first: int, last: int) -> int:
        """How many of these neurons have a synapse from the shortcut: the first channels of each site."""
        if self.layer.shortcut is None:
            return 0
        count = len(self.layer.shortcut.weight)
        before = [n // self.channels * count + min(n % self.channels, count) for n in (first, last)]
        return before[1] - before[0]

    def _synapses_before(self, neuron: int) -> int:
        site, channel = divmod(neuron, self.channels)
        return int(self._before[site]) + (int(self._fan_in[site]) * channel if channel else 0)

    def sources(self, first: int, last: int) -> Sources:
        """The neurons with a synapse to these neurons."""
        layer = self.layer
        reached = np.zeros((*layer.in_shape[:2], 1), dtype=np.bool_)
        pooled = self._pooled_sites(first, last).repeat(layer.pool, axis=0).repeat(layer.pool, axis=1)
        reached[: len(pooled), : pooled.shape[1], 0] = pooled
        found = Sources({self.index - 1: reached}, {self.index - 1: layer.in_shape})
        if layer.shortcut is None or not self._shortcuts(first, last):
            return found
        shortcut, neurons = layer.shortcut, np.zeros(layer.neurons, dtype=np.bool_)
        neurons[first:last] = True
        beside = np.zeros(shortcut.in_shape, dtype=np.bool_)
        heard = neurons.reshape(layer.out_shape)[..., : len(shortcut.weight)]
        beside[:: shortcut.stride[0], :: shortcut.stride[1]] = heard
        return found | Sources({shortcut.source: beside}, {shortcut.source: shortcut.in_shape})

    def _pooled_sites(self, first: int, last: int) -> NDArray[np.bool_]:
        """The positions of the pooled map with a synapse to these neurons, [height, width]."""
        layer = self.layer
        height, width, _ = layer.pooled_shape
        if layer.kind == "linear":
            return np.ones((height, width), dtype=np.bool_)
        outputs = np.zeros(layer.out_shape[:2], dtype=np.bool_)
        outputs.ravel()[first // self.channels : (last - 1) // self.channels + 1] = True
        (rows, columns), (down, across), (top, left) = layer.kernel, layer.stride, layer.padding
        tall, wide = down * outputs.shape[0], across * outputs.shape[1]
        padded = np.zeros((tall + rows + height + top, wide + columns + width + left), dtype=np.bool_)
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
