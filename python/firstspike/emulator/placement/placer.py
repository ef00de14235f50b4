"""Placement: which neurons sit on which core, and whether a chip holds them at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..._base.checks import instance, integer
from ..program.core_kind import CoreKind
from ..program.program import Program
from .axons import Link, Sources, links
from .costs import Costs
from .errors import DoesNotFit
from .first_fit import Slot, first_fit
from .limits import check_limits
from .matching import assign

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DoesNotFit", "Placement", "place"]


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

    def destinations(self, layer: int) -> int:
        """Number of cores to which a layer, by its index (-1: the net's input), has a synapse; 0 for the last."""
        layer = integer("layer", layer, -1, len(self.program.layers) - 1)
        return len({link.target for link in self.links if link.layer == layer})

    def table(self) -> pd.DataFrame:
        """One row per layer and core: neurons, axons in (without those of sources that a row above has on the core) and out,
        synapse memory, thresholds."""
        return pd.DataFrame([slot.row(self.program.layers[slot.layer].name) for slot in self.slots])

    def figure(self) -> Figure:
        """How full each core is, by resource: the share of its neurons, synapse memory and axons in, coloured by layer.

        "unknown" stands where a core's limit is unknown.
        """
        from ...report import figure, line_style

        cores = sorted({slot.core for slot in self.slots})
        drawn, axes = figure()
        resources = _resources(self.program)
        pitch = 0.8 / len(resources)
        for offset, (resource, title) in enumerate(resources.items()):
            filled: dict[int, float] = {}
            x = {core: at + pitch * (offset - (len(resources) - 1) / 2) for at, core in enumerate(cores)}
            for slot in self.slots:
                share = slot.shares()[resource]
                if share is None:
                    continue
                axes.bar(
                    x[slot.core],
                    100 * share,
                    0.9 * pitch,
                    bottom=filled.get(slot.core, 0.0),
                    color=line_style(slot.layer).color,
                    alpha=(1.0, 0.6, 0.3)[offset],
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
        every = -(-len(cores) // 24)  # so that numbers of many cores do not overlap
        axes.set_xticks(range(0, len(cores), every), [str(core) for core in cores[::every]])
        axes.set_xlabel("core")
        axes.set_ylabel("used (%)")
        return drawn


def place(program: Program) -> Placement:
    """Put a program on its profile's cores.

    Layers go in order, split by output neuron, first fit over the cores; where each core takes one layer (convolution
    cores), by maximum matching of layers and cores. Checked are neurons, axons in and out, synapse memory and thresholds
    per core, and of each layer fan-in, kernel size, stride, pool, padding, features, size of the output and how many layers it
    feeds. Convolutions are shared tables where the profile shares weights, else unrolled. Raises DoesNotFit naming layer,
    resource, required and available amounts.

    Examples:
        >>> emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8))).cores_used
        1
    """
    instance("program", program, Program, "a firstspike.emulator.Program")
    profile = program.profile
    check_limits(program)
    if profile.convolution_cores:
        slots, heard = assign(program)
        made = _links(slots, heard)
    else:
        slots, made = _first_fit(program)
    return Placement(program, slots, made, sum(kind.count for kind in profile.cores))


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
        refusal = refusal or DoesNotFit(name, f"axons out of core {core}", used[core], limits[core])
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
