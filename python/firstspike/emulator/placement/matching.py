"""Placement on unequal convolution cores, one layer each, by maximum matching."""

from __future__ import annotations

import math

import numpy as np

from ..program.layers import Layer
from ..program.profile import CoreKind
from ..program.program import Program
from .cores import Costs, DoesNotFit, Slot, Sources, as_convolution


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
