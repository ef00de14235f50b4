"""Placement: which neurons sit on which core, and whether a chip holds them at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..._checks import instance, integer
from ..program.program import Program
from .errors import DoesNotFit
from .first_fit import Slot, first_fit
from .limits import check_limits
from .matching import assign

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DoesNotFit", "Placement", "place"]


@dataclass(frozen=True)
class Placement:
    """Where a program's neurons are. slots: one entry per layer and core, in order of layers.

    Examples:
        >>> placement = emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8)))
        >>> placement.cores_used, placement.table()[["layer", "core", "neurons"]].values.tolist()
        (1, [['1:Integrate', 0, 10]])
    """

    program: Program
    slots: list[Slot]
    available: int

    @property
    def cores_used(self) -> int:
        """Number of cores that hold something."""
        return len({slot.core for slot in self.slots})

    def destinations(self, layer: int) -> int:
        """Number of cores that listen to a layer, by its index: -1 for the net's input; the last has none."""
        layer = integer("layer", layer, -1, len(self.program.layers) - 1)
        return len(self.listening_cores(layer))

    def listening_cores(self, layer: int) -> set[int]:
        """The cores of the layers that take a layer's spikes (`Program.listeners`), by its index: -1 for the net's input."""
        listeners = self.program.listeners(layer)
        return {slot.core for slot in self.slots if slot.layer in listeners}

    def table(self) -> pd.DataFrame:
        """One row per layer and core: neurons, axons in and out, synapse memory, thresholds."""
        return pd.DataFrame([slot.row(self.program.layers[slot.layer].name) for slot in self.slots])

    def figure(self) -> Figure:
        """How full each core is, by resource: the share of its neurons and of its synapse memory, coloured by layer.

        "unknown" stands where a core's limit is unknown.
        """
        from ...report import figure, line_style

        cores = sorted({slot.core for slot in self.slots})
        drawn, axes = figure()
        for offset, (resource, title) in enumerate((("neurons", "neurons"), ("memory", "synapse memory"))):
            filled: dict[int, float] = {}
            x = {core: at + 0.4 * offset - 0.2 for at, core in enumerate(cores)}
            for slot in self.slots:
                share = slot.shares()[resource]
                if share is None:
                    continue
                axes.bar(
                    x[slot.core],
                    100 * share,
                    0.36,
                    bottom=filled.get(slot.core, 0.0),
                    color=line_style(slot.layer).color,
                    alpha=1.0 if offset == 0 else 0.55,
                    label=f"{self.program.layers[slot.layer].name}, {title}",
                )
                filled[slot.core] = filled.get(slot.core, 0.0) + 100 * share
            for core in cores:
                if core not in filled:
                    axes.text(x[core], 0, "unknown", rotation=90, ha="center", va="bottom", fontsize="x-small")
        handles: dict[str, Any] = {}
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
        if handles:
            drawn.legend(list(handles.values()), list(handles), fontsize="x-small", loc="outside upper center", ncols=3)
        else:
            axes.set_ylim(0, 100)
        axes.set_xlim(-0.6, len(cores) - 0.4)
        axes.set_xticks(range(len(cores)), [str(core) for core in cores])
        axes.set_xlabel("core")
        axes.set_ylabel("used (%)")
        return drawn


def place(program: Program) -> Placement:
    """Put a program on its profile's cores.

    Layers go in order, split by output neuron, first fit over the cores; where each core takes one layer (convolution
    cores), by maximum matching of layers and cores. Checked are neurons, axons in and out, synapse memory and thresholds
    per core, and of each layer kernel size, stride, pool, padding, features, size of the output and how many layers it
    feeds. Convolutions are shared tables where the profile shares weights, else unrolled. Raises DoesNotFit naming layer,
    resource, required and available amounts.

    Examples:
        >>> emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8))).cores_used
        1
    """
    instance("program", program, Program, "a firstspike.emulator.Program")
    profile = program.profile
    check_limits(program)
    slots = assign(program) if profile.convolution_cores else first_fit(program)
    placement = Placement(program, slots, sum(kind.count for kind in profile.cores))
    if not profile.convolution_cores:
        _check_axons_out(placement)
    return placement


def _check_axons_out(placement: Placement) -> None:
    used: dict[int, int] = {}
    for slot in placement.slots:
        slot.axons_out = slot.neurons * placement.destinations(slot.layer)
        used[slot.core] = used.get(slot.core, 0) + slot.axons_out
        limit = slot.axons_out_available
        if limit is not None and used[slot.core] > limit:
            raise DoesNotFit(
                placement.program.layers[slot.layer].name, f"axons out of core {slot.core}", used[slot.core], limit
            )


def use(placement: Placement) -> dict[str, float | None]:
    """Cores used, and the largest share of any core's neurons and synapse memory in use.

    Shares are of the cores whose limit is known; None where none is.
    """
    made: dict[str, float | None] = {"cores_used": placement.cores_used, "cores_available": placement.available}
    for resource in ("neurons", "memory"):
        total: dict[int, float] = {}
        for slot in placement.slots:
            share = slot.shares()[resource]
            if share is not None:
                total[slot.core] = total.get(slot.core, 0.0) + share
        made[f"fullest_core_{resource}"] = max(total.values(), default=None)
    return made
