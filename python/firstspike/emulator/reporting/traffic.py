"""Messages between cores and the hops that they make over a mesh of tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..placement.placer import Placement
from .runner import Run


@dataclass(frozen=True)
class Traffic:
    """Means per image. messages: spikes times the cores where their neuron has a synapse. east_west, north_south: hops."""

    messages: float
    east_west: float
    north_south: float


def traffic(run: Run, placement: Placement | None, mesh_rows: int, cores_per_tile: int) -> Traffic:
    """The messages of a run: one per spike, and per input event, to each core where its neuron has a synapse.

    A run counts the spikes of a layer, not of each neuron, so every neuron of a layer counts as having fired equally often.
    Tile t lies in row t % mesh_rows and column t // mesh_rows; core c is on tile c // cores_per_tile; input events enter at
    tile 0. Without a placement every layer is on one core of the same tile: no hops.
    """
    spikes = run.count("events").mean(0)  # into each layer, from the one before it
    program = run.program
    if placement is None:
        return Traffic(float(sum(count * len(program.listeners(n - 1)) for n, count in enumerate(spikes))), 0.0, 0.0)
    shapes = [program.input_shape, *(layer.out_shape for layer in program.layers)]
    messages = east_west = north_south = 0.0
    for link in placement.links:
        sent = float(spikes[link.layer + 1]) * link.neurons / int(np.prod(shapes[link.layer + 1]))
        column, row = divmod((link.core or 0) // cores_per_tile, mesh_rows)
        to_column, to_row = divmod(link.target // cores_per_tile, mesh_rows)
        messages += sent
        east_west += sent * abs(to_column - column)
        north_south += sent * abs(to_row - row)
    return Traffic(messages, east_west, north_south)
