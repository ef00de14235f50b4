"""A kind of core of a chip, and how many of them there are."""

from __future__ import annotations

from dataclasses import dataclass

from ..._base.checks import integer

MAX_CORES = 1 << 16


@dataclass(frozen=True)
class CoreKind:
    """A kind of core and the number of such cores; None: no known limit.

    Attributes:
        count: how many such cores there are, 1 to 65,536.
        neurons: neurons per core.
        axons_in: distinct sources that a core listens to.
        axons_out: pairs of a neuron of the core and a core where it has a synapse.
        synapse_bits: memory for weights, in bits.
        kernel_entries, neuron_entries: memories of a convolution core, in weights and in neurons of its map.
        source: where the numbers come from.

    Examples:
        >>> emulator.profile.CoreKind(4, neurons=256)
        CoreKind(count=4, neurons=256, axons_in=None, axons_out=None, synapse_bits=None, kernel_entries=None, ...)
    """

    count: int
    neurons: int | None = None
    axons_in: int | None = None
    axons_out: int | None = None
    synapse_bits: int | None = None
    kernel_entries: int | None = None
    neuron_entries: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", integer("count of cores", self.count, 1, MAX_CORES))
        for name in ("neurons", "axons_in", "axons_out", "synapse_bits", "kernel_entries", "neuron_entries"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, integer(f"{name} of a core", value, 0, 1 << 62))
