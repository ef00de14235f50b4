"""What a range of a layer's neurons needs of a core; only the sources of a shortcut take time that grows with the channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..program.layers import Layer
from .axons import Sources


class Costs:
    """Needs of neurons `first` to `last` (exclusive; numbered row, column, channel) of a layer.

    index: of the layer in its program. shared: the core stores a convolution's kernel once, not unrolled.
    """

    def __init__(self, layer: Layer, index: int, shared: bool) -> None:
        self.layer, self.shared = layer, shared and layer.kind == "conv"
        self._source = index - 1
        self.channels = layer.out_shape[2]
        self._fan_in = (layer.sources_per_site() * layer.in_shape[2]).ravel()
        self._before = np.concatenate([[0], np.cumsum(self._fan_in * self.channels)])
        self._every_theta = frozenset(np.unique(layer.theta).tolist()) if layer.fires else frozenset()

    def neediest(self) -> int:
        """The neuron with the most synapses, the first of them (with the shortcut's, which the first channel has)."""
        return int(self._fan_in.argmax()) * self.channels

    def synapses(self, first: int, last: int) -> int:
        """Stored weights: the whole kernel table where it is shared, else one per synapse."""
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
        found = Sources({self._source: reached}, {self._source: layer.in_shape})
        if layer.shortcut is None or not self._shortcuts(first, last):
            return found
        shortcut, neurons = layer.shortcut, np.zeros(layer.neurons, dtype=np.bool_)
        neurons[first:last] = True
        beside = np.zeros(shortcut.in_shape, dtype=np.bool_)
        beside[:: shortcut.stride[0], :: shortcut.stride[1]] = neurons.reshape(layer.out_shape)[
            ..., : len(shortcut.weight)
        ]
        return found | Sources({shortcut.source: beside}, {shortcut.source: shortcut.in_shape})

    def _pooled_sites(self, first: int, last: int) -> NDArray[np.bool_]:
        """The positions of the pooled map with a synapse to these neurons, [height, width]."""
        layer = self.layer
        height, width, _ = layer.pooled_shape
        if layer.kind == "linear":
            return np.ones((height, width), dtype=np.bool_)
        begin, end, columns = first // self.channels, (last - 1) // self.channels, layer.out_shape[1]
        top, left, bottom, right = *divmod(begin, columns), *divmod(end, columns)
        if top == bottom:
            parts = [((top, top), (left, right))]
        else:  # the rest of the first row, the rows between, the beginning of the last row
            parts = [((top, top), (left, columns - 1)), ((bottom, bottom), (0, right))]
            if top + 1 < bottom:
                parts.append(((top + 1, bottom - 1), (0, columns - 1)))
        sites = np.zeros((height, width), dtype=np.bool_)
        for rows, across in parts:
            sites |= np.logical_and.outer(self._reached(0, rows, height), self._reached(1, across, width))
        return sites

    def _reached(self, axis: int, outputs: tuple[int, int], size: int) -> NDArray[np.bool_]:
        """Along one axis, the pooled source positions that a range of outputs (inclusive) has a synapse from."""
        layer = self.layer
        kernel, stride, pad = layer.weight.shape[1 + axis], layer.stride[axis], layer.padding[axis]
        low = outputs[0] * stride - pad
        offset = np.arange(size) - low
        inside: NDArray[np.bool_] = (offset >= 0) & (offset < (outputs[1] - outputs[0]) * stride + kernel)
        if stride > kernel:
            inside &= offset % stride < kernel
        return inside

    def thetas(self, first: int, last: int) -> frozenset[int]:
        """Distinct thresholds of these neurons; none for a layer that never fires."""
        if not self.layer.fires or last - first >= self.channels:
            return self._every_theta
        return frozenset(self.layer.theta[np.arange(first, last) % self.channels].tolist())
