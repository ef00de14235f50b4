"""How a net of windows lies in the core of `export_rtl`: tiles, rows of weights, lists of spikes (see rtl/fs.sv)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..._base import checks
from ..program.layers import Layer, Synapses
from ..program.profile import Fpga
from ..program.program import Program, Refusal

Ints = NDArray[np.int64]

ANY = Fpga(multipliers=1 << 16, block_rams=1 << 16)  # where the profile names no FPGA


@dataclass
class Map:
    """A map of neurons, and its list of spikes. shape: (height, width, channels). pool: by which its listeners average it.

    blocks: the first channel of each block between two marks; the input has one block. spikes, marks: where list and marks begin
    in their memories.
    """

    shape: tuple[int, int, int]
    steps: int
    pool: int = 1
    blocks: tuple[int, ...] = (0,)
    spikes: int = 0
    marks: int = 0

    @property
    def columns(self) -> int:
        """Columns after pooling."""
        return self.shape[1] // self.pool

    @property
    def rows(self) -> int:
        """Rows that have synapses, before pooling."""
        return self.shape[0] // self.pool * self.pool

    @property
    def pitch(self) -> int:
        """Marks per row."""
        return self.columns * len(self.blocks)

    @property
    def room(self) -> tuple[int, int]:
        """The most spikes in its list, and its marks."""
        return self.rows * self.columns * self.pool * self.shape[2], self.rows * self.pitch + 1


@dataclass
class Input:
    """The synapses of a stage from one map.

    weight: [kernel rows, kernel columns, channels, outputs], with zeros between groups; of a max pool ones, of one kernel row.
    inside, wide: channels and outputs of a group, 0 without groups. split: each tile reads one block of channels only, so each
    column of the kernel is a separate run. base: of each tile.
    """

    part: Synapses
    weight: Ints
    inside: int = 0
    wide: int = 0
    split: bool = False
    base: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, part: Synapses, layer: Layer) -> Input:
        """The synapses of a layer. A shortcut reaches its first channels, or all."""
        outputs, groups = layer.out_shape[2], part.outputs if part.kind == "diagonal" else part.groups
        weight = np.pad(part.dense().astype(np.int64) << layer.shift, [*[(0, 0)] * 3, (0, outputs - part.outputs)])
        grouped = groups > 1 and part.outputs == outputs
        sizes = (part.in_shape[2] // groups, outputs // groups) if grouped else (0, 0)
        return cls(part, np.sign(weight[:1]) if is_pool(layer) else weight, *sizes)

    def channels_of(self, tile: range) -> range:
        """The channels that a tile's neurons have synapses from."""
        if not self.inside:
            return range(self.weight.shape[2])
        return range(tile.start // self.wide * self.inside, ((tile.stop - 1) // self.wide + 1) * self.inside)


@dataclass
class Stage:
    """What the core computes at a time: a layer, with the max pool behind it if `pool` is not (1, 1).

    number: of the map that it sends, by its layer. start, rise: of each channel, the membrane without spikes, and D.
    """

    layer: Layer
    number: int
    inputs: list[Input]
    pool: tuple[int, int]
    start: Ints
    rise: Ints
    tiles: list[range] = field(default_factory=list)
    first_tile: int = 0


class Layout:
    """A program in the core. lanes, clusters: by default of the profile's FPGA. skip_silent: the lists have no silent neurons.

    maps: by the number of their layer, -1 for the input. last_use: the stage after which the next image may be loaded. spikes,
    marks: sizes of the memories. weights: [rows, lanes].
    """

    def __init__(
        self, program: Program, lanes: int | None = None, clusters: int | None = None, *, skip_silent: bool = True
    ) -> None:
        checks.instance("program", program, Program, "a Program")
        self.program, self.fpga = program, program.profile.fpga or ANY
        self.lanes = checks.integer("lanes", self.fpga.lanes if lanes is None else lanes, 1, 64)
        self.clusters = checks.integer("clusters", self.fpga.clusters if clusters is None else clusters, 1, 16)
        self.skips = checks.boolean("skip_silent", skip_silent)
        if program.timing != "windowed":
            problem = "the core keeps no membranes from step to step, so it runs nets of windows only"
            raise Refusal("net", problem, timing="windowed")
        if program.readout.margin is not None:
            raise Refusal("net", "the core computes a layer at a time, and cannot stop at a margin", "leave out the margin")
        self.maps = {-1: Map(program.input_shape, program.steps)}
        self.stages = list(self._stages())
        self._average()
        for stage in reversed(self.stages):
            self._cut(stage)
        self._place_lists()
        self.weights = self._place_weights()

    @property
    def quotient_bits(self) -> int:
        """Bits of the number of steps by which a neuron is earlier than its window's last."""
        return max(max(0, stage.layer.steps - 1).bit_length() for stage in self.stages)

    def source(self, synapses: Input) -> Map:
        """The map that they read."""
        return self.maps[synapses.part.source]

    def _stages(self) -> Iterator[Stage]:
        number = 0
        while number < len(self.program.layers):
            layer, pool = self.program.layers[number], (1, 1)
            for register, free in layer.overflow_free().items():
                if not free:
                    problem = f"its {register} could overflow, and the core has no policy for that"
                    raise Refusal(layer.name, problem, "quantise for a profile with wider registers, such as rtl-ecp5-85")
            if self._is_pooled(number):
                number += 1
                pool = self.program.layers[number].stride
            offset, rise = layer.closed_form()
            start, rise = (offset - rise, rise) if layer.fires else (offset, np.ones_like(rise))
            self.maps[number] = Map(self.program.layers[number].out_shape, layer.steps)
            yield Stage(layer, number, [Input.of(part, layer) for part in layer.inputs], pool, start, rise)
            number += 1

    def _is_pooled(self, number: int) -> bool:
        """Whether a layer and the next one, a max pool of separate patches, can be computed together."""
        layer, *rest = self.program.layers[number:]
        if not rest or is_pool(layer) or layer.shortcut is not None:
            return False
        pool, alone = rest[0], self.program.listeners(number) == {number + 1}
        return is_pool(pool) and alone and pool.stride == pool.kernel and pool.padding == (0, 0)

    def _average(self) -> None:
        """Find the average pool of each map, which must be the same for all of its listeners."""
        pools: dict[int, int] = {}
        for stage in self.stages:
            for part in stage.layer.inputs:
                if pools.setdefault(part.source, part.pool) != part.pool:
                    problem = f"its shortcut averages {part.pool} x {part.pool} neurons, another layer averages the map otherwise"
                    raise Refusal(stage.layer.name, problem, "average in a layer before the block")
                self.maps[part.source].pool = part.pool

    def _cut(self, stage: Stage) -> None:
        """Cut a stage's channels into tiles, and the maps that it reads into the blocks of its groups."""
        outputs = self.maps[stage.number].shape[2]
        ends = {*self.maps[stage.number].blocks[1:], outputs}
        for synapses in stage.inputs:
            if synapses.inside:
                ends |= set(range(0, outputs, synapses.wide * max(1, self.lanes // synapses.wide))) - {0}
        begin = 0
        for end in sorted(ends):
            stage.tiles += [range(first, min(first + self.lanes, end)) for first in range(begin, end, self.lanes)]
            begin = end
        for synapses in stage.inputs:
            source = self.source(synapses)
            blocks = sorted({(channels.start, channels.stop) for channels in map(synapses.channels_of, stage.tiles)})
            firsts, lasts = tuple(first for first, _ in blocks), tuple(last for _, last in blocks)
            whole = (*firsts, source.shape[2]) == (0, *lasts) and source.blocks in ((0,), firsts)
            if synapses.inside and whole and source.pool == 1 and synapses.part.source >= 0:
                source.blocks, synapses.split = firsts, True

    def _place_lists(self) -> None:
        """Give each map room for its list and its marks, from its own stage to the last that reads it.

        The input's are free after that, until the next image is loaded while the last stage runs.
        """
        last = {part.source: n for n, stage in enumerate(self.stages) for part in stage.layer.inputs}
        uses = {stage.number: set(range(n, last.get(stage.number, n) + 1)) for n, stage in enumerate(self.stages)}
        final = len(self.stages) - 1
        self.last_use = max(last[-1], final - 1)
        uses[-1] = {*range(last[-1] + 1), final}
        self.spikes = self.marks = 2
        for number in sorted(last):  # the readout sends no spikes
            own, others = self.maps[number], [self.maps[n] for n in last if n < number and uses[n] & uses[number]]
            own.spikes = _lowest(own.room[0], [(other.spikes, other.room[0]) for other in others])
            own.marks = _lowest(own.room[1], [(other.marks, other.room[1]) for other in others])
            self.spikes = max(self.spikes, own.spikes + own.room[0])
            self.marks = max(self.marks, own.marks + own.room[1])

    def _place_weights(self) -> Ints:
        """Rows of weights [rows, lanes] in the order in which a tile reads them; sets the bases of the inputs' tiles."""
        parts: list[Ints] = []
        row = self.tile_count = 0
        for stage in self.stages:
            stage.first_tile = self.tile_count
            self.tile_count += len(stage.tiles)
            for synapses in stage.inputs:
                room = self.block_room(synapses)
                for tile in stage.tiles:
                    channels = synapses.channels_of(tile) if synapses.split else range(synapses.weight.shape[2])
                    weight = synapses.weight[:, :, channels.start : channels.stop, tile.start : tile.stop]
                    weight = np.pad(weight, ((0, 0), (0, 0), (0, room - len(channels)), (0, self.lanes - len(tile))))
                    if synapses.split and is_pool(stage.layer):
                        weight = weight[:, :1]
                    synapses.base.append(row - channels.start)
                    parts.append(weight.reshape(-1, self.lanes))
                    row += len(parts[-1])
        return np.concatenate(parts)

    def block_room(self, synapses: Input) -> int:
        """Rows of weights for a run's channels: the largest block's, or all."""
        channels = synapses.weight.shape[2]
        return int(np.diff((*self.source(synapses).blocks, channels)).max()) if synapses.split else channels


def is_pool(layer: Layer) -> bool:
    """True for a max pool."""
    return layer.neuron.kind == "pool"


def _lowest(size: int, taken: list[tuple[int, int]]) -> int:
    """The lowest address from which on `size` words are free. taken: (first, size) of what is in use."""
    ends = [0, *(first + room for first, room in taken)]
    return min(at for at in ends if all(at + size <= first or first + room <= at for first, room in taken))
