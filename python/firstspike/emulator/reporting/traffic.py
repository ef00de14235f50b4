"""Messages between cores and the hops that they make over a mesh of tiles."""

from __future__ import annotations

from dataclasses import dataclass

from ..placement.first_fit import Slot
from ..placement.placer import Placement
from .runner import Run


@dataclass(frozen=True)
class Traffic:
    """Means per image. messages: spikes times the cores that listen. east_west, north_south: their hops."""

    messages: float
    east_west: float
    north_south: float


def traffic(run: Run, placement: Placement | None, mesh_rows: int, cores_per_tile: int) -> Traffic:
    """The messages of a run: one per spike, and per input event, to each core that listens (`listening_cores`).

    Tile t lies in row t % mesh_rows and column t // mesh_rows; core c is on tile c // cores_per_tile. A layer's spikes are
    spread over its cores by their neurons; input events enter at tile 0. Without a placement every layer is on one core
    of the same tile: no hops.
    """
    spikes = run.count("events").mean(0)  # into each layer, from the one before it
    program = run.program
    if placement is None:
        return Traffic(float(sum(count * len(program.listeners(n - 1)) for n, count in enumerate(spikes))), 0.0, 0.0)
    slots: dict[int, list[Slot]] = {}
    for slot in placement.slots:
        slots.setdefault(slot.layer, []).append(slot)
    messages = east_west = north_south = 0.0
    for layer in range(len(program.layers)):
        before = slots.get(layer - 1, [])
        neurons = sum(slot.neurons for slot in before)
        sources = [(slot.core, slot.neurons / neurons) for slot in before] or [(0, 1.0)]
        targets = placement.listening_cores(layer - 1)
        for core, share in sources:
            sent = float(spikes[layer]) * share
            column, row = divmod(core // cores_per_tile, mesh_rows)
            for target in targets:
                to_column, to_row = divmod(target // cores_per_tile, mesh_rows)
                messages += sent
                east_west += sent * abs(to_column - column)
                north_south += sent * abs(to_row - row)
    return Traffic(messages, east_west, north_south)
