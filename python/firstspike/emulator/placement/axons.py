"""Axons: which neurons of a layer have a synapse to which core, so that each is counted once per core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..program.layers import Shape

if TYPE_CHECKING:
    from .first_fit import Slot


@dataclass(frozen=True)
class Sources:
    """A set of neurons of several layers, by the layer's index (-1: the net's input).

    masks: which neurons of a layer's map [height, width, channels]; [height, width, 1] where that holds for all channels.
    shapes: the maps' shapes.
    """

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


@dataclass(frozen=True)
class Link:
    """`neurons` neurons of a layer, on `core`, that have a synapse to a neuron on core `target`.

    layer: its index, -1 for the net's input, whose core is None.
    """

    layer: int
    core: int | None
    target: int
    neurons: int


def links(slots: Iterable[Slot], heard: Mapping[int, Sources]) -> list[Link]:
    """The links between the parts of layers on cores. heard: by core, the sources of all of its neurons.

    The slots of a layer are in the order of its neurons and hold them all.
    """
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
