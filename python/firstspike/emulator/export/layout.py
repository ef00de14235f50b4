"""How a net of windows lies in the core of `export_rtl`: tiles, weights, lists of spikes, and the tables (rtl/fs.sv)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._base import checks
from ..program.layers import Layer
from ..program.program import Program, Refusal
from .tables import input_of
from .windowed import levels_of

Ints = NDArray[np.int64]

LANES, CLUSTERS = 16, 4  # where the profile names no FPGA

# The fields of the records in rtl/fs.sv, in order; their width: a address, c count, l lane, v level, digits bits.
_MAP = "spikes:a marks:a rows:c columns:c pooled:c used_rows:a used_columns:a channels:a"
_IMAGE = f"{_MAP} border_rows:c border_columns:c block:a"
_INPUT = (
    "y:a x:a row:a base:a pitch:a rows:a span:a kernel_rows:c taps:c repeats:c tap_x:a tap_base:a row_base:a "
    "tile_x:a tile_base:a tile_y:a tile_row:a"
)
_LAYER = (
    "both:1 each:1 readout:1 last_use:1 tiles:a first_tile:a site_rows:c site_columns:c site_x:a site_base:a site_y:a site_row:a "
    f"steps:v {_MAP}"
)
_CHANNELS = "lanes:l channel:a marked:1 main_x:a main_base:a shortcut_x:a shortcut_base:a"


@dataclass
class Map:
    """A map of neurons, and its list of spikes. shape: (height, width, channels). pool: by which its listeners average it.

    blocks: the first channel of each block between two marks. spikes, marks: where list and marks begin in their memories.
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

    def record(self) -> dict[str, int]:
        """Its fields in rtl/fs.sv."""
        return {
            "spikes": self.spikes,
            "marks": self.marks,
            "rows": self.shape[0] - 1,
            "columns": self.shape[1] - 1,
            "pooled": self.pool - 1,
            "used_rows": self.rows,
            "used_columns": self.columns * self.pool,
            "channels": self.shape[2],
        }


@dataclass
class Input:
    """The synapses of a stage from one map. The kernel of a linear layer is the complete map.

    weight: [kernel height, kernel width, channels, outputs], with zeros between groups; of a max pool ones, for every tap and row
    the same. inside, wide: channels and outputs of a group, 0 without groups. split: each tile reads one block of channels only,
    so each column of the kernel is a separate run.
    """

    source: int
    weight: Ints
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    inside: int = 0
    wide: int = 0
    split: bool = False
    base: list[int] = field(default_factory=list)

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

    @property
    def both(self) -> bool:
        """True if it has a shortcut."""
        return len(self.inputs) > 1


class Layout:
    """A program in the core. lanes: of a cluster. skips: silent neurons are left out of the lists. merges: max pools are computed
    with the layer before them where that can be.

    maps: by the number of their layer, -1 for the input. weights: [rows, lanes].
    """

    def __init__(self, program: Program, *, lanes: int, clusters: int, skips: bool = True, merges: bool = True) -> None:
        if program.timing != "windowed":
            problem = "the core keeps no membranes from step to step, so it runs nets of windows only"
            raise Refusal("net", problem, timing="windowed")
        if program.readout.margin is not None:
            raise Refusal("net", "the core computes a layer at a time, and cannot stop at a margin", "leave out the margin")
        self.program, self.lanes, self.clusters, self.skips = program, lanes, clusters, skips
        self.maps = {-1: Map(program.input_shape, program.steps)}
        self.stages = list(self._stages(merges))
        self._average()
        for stage in reversed(self.stages):
            self._cut(stage)
        self._place_lists()
        self.weights = self._place_weights()

    @classmethod
    def of(cls, program: Program, lanes: int | None, clusters: int | None, *, skips: bool, merges: bool) -> Layout:
        """The layout of a user's arguments; by default with the lanes of the profile's FPGA."""
        checks.instance("program", program, Program, "a Program")
        core = program.profile.fpga
        lanes = checks.integer("lanes", (core.lanes if core else LANES) if lanes is None else lanes, 1, 64)
        clusters = checks.integer("clusters", (core.clusters if core else CLUSTERS) if clusters is None else clusters, 1, 16)
        options = {"skips": checks.boolean("skip_silent", skips), "merges": checks.boolean("merge_pools", merges)}
        return cls(program, lanes=lanes, clusters=clusters, **options)

    # ---- Stages

    def _stages(self, merges: bool) -> Iterator[Stage]:
        layers, number = self.program.layers, 0
        while number < len(layers):
            layer, pool = layers[number], (1, 1)
            for register, free in layer.overflow_free().items():
                if not free:
                    problem = f"its {register} could overflow, and the core has no policy for that"
                    raise Refusal(layer.name, problem, "quantise for a profile with wider registers, such as rtl-ecp5-85")
            inputs = list(_inputs(layer, number))
            if merges and self._merges(number):
                number, pool = number + 1, layers[number + 1].stride
            offset, rise = layer.closed_form()
            start, rise = (offset - rise, rise) if layer.fires else (offset, np.ones_like(rise))
            self.maps[number] = Map(layers[number].out_shape, layer.steps)
            yield Stage(layer, number, inputs, pool, start, rise)
            number += 1

    def _merges(self, number: int) -> bool:
        """Whether a layer and the next one, a max pool of separate patches, can be computed together."""
        layers = self.program.layers
        if number + 1 == len(layers) or _pools(layers[number]) or layers[number].shortcut is not None:
            return False
        pool, alone = layers[number + 1], self.program.listeners(number) == {number + 1}
        return _pools(pool) and alone and pool.stride == pool.kernel and pool.padding == (0, 0)

    def _average(self) -> None:
        """Find the average pool of each map, which must be the same for all of its listeners."""
        seen: set[int] = set()
        for stage in self.stages:
            shortcut = stage.layer.shortcut
            for synapses, pool in zip(stage.inputs, (stage.layer.pool, shortcut.pool if shortcut else 1), strict=False):
                if synapses.source in seen and self.maps[synapses.source].pool != pool:
                    problem = f"its shortcut averages {pool} x {pool} neurons, another layer averages the same map otherwise"
                    raise Refusal(stage.layer.name, problem, "average in a layer before the block")
                seen.add(synapses.source)
                self.maps[synapses.source].pool = pool

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
            source = self.maps[synapses.source]
            blocks = sorted({(channels.start, channels.stop) for channels in map(synapses.channels_of, stage.tiles)})
            firsts, lasts = tuple(first for first, _ in blocks), tuple(last for _, last in blocks)
            whole = (*firsts, source.shape[2]) == (0, *lasts) and source.blocks in ((0,), firsts)
            sizes = np.subtract(lasts, firsts)
            even = synapses.source >= 0 or bool((sizes[:-1] == sizes[0]).all() and sizes[-1] <= sizes[0])  # as the loader counts
            if synapses.inside and whole and even and source.pool == 1:
                source.blocks, synapses.split = firsts, True

    # ---- Memories

    def _place_lists(self) -> None:
        """Give each map room for its list and its marks, from its own stage to the last that reads it.

        The input's are free after that, until the next image is loaded while the last stage runs.
        """
        last = {synapses.source: n for n, stage in enumerate(self.stages) for synapses in stage.inputs}
        uses = {stage.number: set(range(n, last.get(stage.number, n) + 1)) for n, stage in enumerate(self.stages)}
        final = len(self.stages) - 1
        self.last_use = max(last[-1], final - 1)
        uses[-1] = {*range(last[-1] + 1), final}
        self.spikes = self.marks = 2
        placed: list[int] = []
        for number, neurons in self.maps.items():
            if number not in last:
                continue  # the readout sends no spikes
            others = [self.maps[other] for other in placed if uses[other] & uses[number]]
            neurons.spikes = _lowest(neurons.room[0], [(x.spikes, x.room[0]) for x in others])
            neurons.marks = _lowest(neurons.room[1], [(x.marks, x.room[1]) for x in others])
            self.spikes = max(self.spikes, neurons.spikes + neurons.room[0])
            self.marks = max(self.marks, neurons.marks + neurons.room[1])
            placed.append(number)

    def _place_weights(self) -> Ints:
        """Rows of weights [rows, lanes] in the order in which a tile reads them; sets the bases of the inputs' tiles."""
        parts: list[Ints] = []
        row = tile_count = 0
        for stage in self.stages:
            stage.first_tile = tile_count
            tile_count += len(stage.tiles)
            for synapses in stage.inputs:
                room = self.block_room(synapses)
                for tile in stage.tiles:
                    channels = synapses.channels_of(tile) if synapses.split else range(synapses.weight.shape[2])
                    weight = synapses.weight[:, :, channels.start : channels.stop, tile.start : tile.stop]
                    weight = np.pad(weight, ((0, 0), (0, 0), (0, room - len(channels)), (0, self.lanes - len(tile))))
                    if synapses.split and _pools(stage.layer):
                        weight = weight[:, :1]
                    synapses.base.append(row - channels.start)
                    parts.append(weight.reshape(-1, self.lanes))
                    row += len(parts[-1])
        self.tile_count = tile_count
        return np.concatenate(parts)

    def block_room(self, synapses: Input) -> int:
        """Rows of weights for a run's channels: the largest block's, or all."""
        blocks, channels = self.maps[synapses.source].blocks, self.maps[synapses.source].shape[2]
        return int(np.diff((*blocks, channels)).max()) if synapses.split else channels

    def membranes(self, stage: Stage) -> tuple[int, int]:
        """The lowest and the highest membrane that spikes of any levels make."""
        low, high = stage.start.copy(), stage.start.copy()
        for synapses in stage.inputs:
            source = self.maps[synapses.source]
            flat = synapses.weight.reshape(-1, synapses.weight.shape[-1]) * source.steps * source.pool**2
            low += flat.clip(max=0).sum(0)
            high += flat.clip(min=0).sum(0)
        return int(low.min()), int(high.max())

    @property
    def quotient_bits(self) -> int:
        """Bits of the number of steps by which a neuron is earlier than its window's last."""
        return max(max(0, stage.layer.steps - 1).bit_length() for stage in self.stages)

    def block_rams(self, sizes: dict[str, int]) -> int:
        """Block RAMs of 18 kbit that an ECP5 needs, at most. Smaller memories become lookup tables, as yosys 0.52 maps them."""
        row = sizes["LANES"] * sizes["WEIGHT_BITS"]
        spike, clusters = sizes["PLACE_BITS"] + sizes["LEVEL_BITS"], sizes["CLUSTERS"]
        memories = [
            ((clusters + 1) // 2, sizes["WEIGHT_ROWS"], row),
            (clusters, sizes["SPIKES"], spike),
            (2 * clusters, sizes["MARKS"], sizes["ADDRESS_BITS"]),
            (1, sizes["TILES"] << sizes["LANE_BITS"], sizes["RISE_BITS"]),
        ]
        starts = clusters * -(-sizes["LANES"] * sizes["MEMBRANE_BITS"] // 36) * -(-sizes["TILES"] // 512)  # of 512 x 36 bits
        few = sum(count * _block_rams(depth, width) for count, depth, width in memories if depth * width > 1800)
        return few + (starts if sizes["TILES"] > 48 else 0)

    # ---- Tables

    def sizes(self, multipliers: int) -> dict[str, int]:
        """The sizes that rtl/fs.sv includes."""
        ranges = [self.membranes(stage) for stage in self.stages]
        rises = max(int(stage.rise.max()) for stage in self.stages)
        codes = self.codes()
        lane_bits = max(1, _bits(self.lanes - 1))
        counts = [
            1,
            *(synapses.kernel[0] * self.maps[synapses.source].pool for stage in self.stages for synapses in stage.inputs),
        ]
        counts += [x for neurons in self.maps.values() for x in neurons.shape[:2]]
        addresses = [
            self.spikes,
            self.marks,
            len(self.weights),
            self.tile_count << lane_bits,
            512 * len(codes),
            *(neurons.pitch + neurons.columns + neurons.shape[2] for neurons in self.maps.values()),
            *(neurons.shape[1] * neurons.shape[2] for neurons in self.maps.values()),
            *(
                abs(value)
                for stage in self.stages
                for synapses in stage.inputs
                for value in self._input(stage, synapses).values()
            ),
        ]
        weight_bits = max(_bits(int(self.weights.max())), _bits(-int(self.weights.min()) - 1)) + 1
        return {
            "LANES": self.lanes,
            "CLUSTERS": self.clusters,
            "MULTIPLIERS": min(multipliers, self.lanes * self.clusters),
            "WEIGHT_BITS": max(2, weight_bits),
            "LEVEL_BITS": _bits(max(neurons.steps for neurons in self.maps.values())),
            "MEMBRANE_BITS": 1 + max(max(_bits(high), _bits(-low - 1)) for low, high in ranges),
            "RISE_BITS": _bits(rises),
            "STAGES": self.quotient_bits,
            "PLACE_BITS": max(1, _bits(max(neurons.columns * neurons.shape[2] for neurons in self.maps.values()) - 1)),
            "ADDRESS_BITS": _bits(max(addresses)) + 1,
            "COUNT_BITS": _bits(max(counts)),
            "LANE_BITS": lane_bits,
            "SPIKES": self.spikes,
            "MARKS": self.marks,
            "WEIGHT_ROWS": max(2, len(self.weights)),
            "TILES": max(2, self.tile_count),
            "LAYERS": max(2, len(self.stages)),
            "CODES": len(codes),
            "POOLS": int(any(stage.pool != (1, 1) or _pools(stage.layer) for stage in self.stages)),
            "SKIPS": int(self.skips),
        }

    def codes(self) -> list[Ints]:
        """The level of each pixel value, then the border's, per channel or for all; none where a pixel is its level."""
        taken = input_of(self.program)
        if taken is None or taken.codes is None or taken.border is None:
            return []
        levels, border = (levels_of(x, self.program.steps).astype(np.int64) for x in (taken.codes, taken.border))
        if len(levels) == 1 and not any(self.program.encoder.padding) and (levels[0] == np.arange(256)).all():
            return []
        if len(levels) > 1 and self.program.input_shape[:2] == (1, 1):
            raise Refusal("net", "its channels have different scales, and its first layer is fully connected", "scale all alike")
        return [np.concatenate([level, [edge]]) for level, edge in zip(levels, border, strict=True)]

    def _input(self, stage: Stage, synapses: Input) -> dict[str, int]:
        source, (height, width), (rows, columns) = self.maps[synapses.source], synapses.kernel, synapses.stride
        pool, blocks, channels = source.pool, len(source.blocks), source.shape[2]
        down, right = stage.pool[0] * rows * pool, stage.pool[1] * columns
        per_tap = 0 if _pools(stage.layer) else self.block_room(synapses)  # rows of weights
        per_row = 0 if _pools(stage.layer) else width * channels
        return {
            "y": -synapses.padding[0] * pool,
            "x": -synapses.padding[1] * blocks,
            "row": source.marks - synapses.padding[0] * pool * source.pitch,
            "base": synapses.padding[1] * channels,
            "pitch": source.pitch,
            "rows": source.rows,
            "span": 1 if synapses.split else width * blocks,
            "kernel_rows": height * pool - 1,
            "taps": width - 1 if synapses.split else 0,
            "repeats": pool - 1,
            "tap_x": blocks,
            "tap_base": per_tap - channels,
            "row_base": per_tap + (width - 1) * channels if synapses.split else per_row,
            "tile_x": right * blocks,
            "tile_base": -right * channels,
            "tile_y": down,
            "tile_row": down * source.pitch,
        }

    def _layer(self, number: int, stage: Stage, widths: dict[str, int]) -> int:
        neurons, main = self.maps[stage.number], stage.inputs[0]
        source, rows, columns = self.maps[main.source], *main.stride
        values = {
            "both": len(stage.inputs) - 1,
            "each": int(_pools(stage.layer)),
            "readout": int(not stage.layer.fires),
            "last_use": int(number == self.last_use),
            "tiles": len(stage.tiles) - 1,
            "first_tile": stage.first_tile,
            "site_rows": stage.pool[0] - 1,
            "site_columns": stage.pool[1] - 1,
            "site_x": columns * len(source.blocks),
            "site_base": -columns * source.shape[2],
            "site_y": rows * source.pool,
            "site_row": rows * source.pool * source.pitch,
            "steps": stage.layer.steps,
            **neurons.record(),
        }
        if not stage.layer.fires:
            values["used_rows"] = 0  # its membranes are no spikes
        inputs = [_packed(_INPUT, self._input(stage, synapses), widths) for synapses in stage.inputs]
        fields = [*inputs, *([0] * (2 - len(inputs))), _packed(_LAYER, values, widths)]
        bits = [_width(_INPUT, widths)] * 2 + [_width(_LAYER, widths)]
        return _joined(fields, bits)

    def _channels(self, stage: Stage, index: int, widths: dict[str, int]) -> int:
        tile, neurons = stage.tiles[index], self.maps[stage.number]
        values = {
            "lanes": len(tile) - 1,
            "channel": tile.start,
            "marked": int(tile.stop in (*neurons.blocks[1:], neurons.shape[2])),
            **dict.fromkeys(("shortcut_x", "shortcut_base"), 0),
        }
        for name, synapses in zip(("main", "shortcut"), stage.inputs, strict=False):
            block = self.maps[synapses.source].blocks.index(synapses.channels_of(tile).start) if synapses.split else 0
            values |= {f"{name}_x": block, f"{name}_base": synapses.base[index]}
        return _packed(_CHANNELS, values, widths)

    def tables(self, sizes: dict[str, int]) -> dict[str, str]:
        """The files that the core loads, by their names."""
        widths = {kind: sizes[f"{name}_BITS"] for kind, name in zip("aclv", ("ADDRESS", "COUNT", "LANE", "LEVEL"), strict=True)}
        pairs = [(stage, index) for stage in self.stages for index in range(len(stage.tiles))]
        image = self.maps[-1]
        block = int(np.diff((*image.blocks, image.shape[2]))[0])
        rows, columns = self.program.encoder.padding
        facts = {"border_rows": rows, "border_columns": columns, "block": block}
        starts, rises = np.full((2, len(pairs), 1 << sizes["LANE_BITS"]), -1)
        for n, (stage, index) in enumerate(pairs):
            tile = stage.tiles[index]
            starts[n, : len(tile)] = stage.start[tile.start : tile.stop]
            rises[n, : len(tile)] = stage.rise[tile.start : tile.stop]
        tables = {
            "layers": [self._layer(n, stage, widths) for n, stage in enumerate(self.stages)],
            "tiles": [self._channels(stage, index, widths) for stage, index in pairs],
            "image": [_packed(_IMAGE, image.record() | facts, widths)],
            "weights": _rows(self.weights, sizes["WEIGHT_BITS"]),
            "starts": _rows(starts[:, : self.lanes], sizes["MEMBRANE_BITS"]),
            "rises": _rows(rises.reshape(-1, 1), sizes["RISE_BITS"]),
        }
        if sizes["CODES"]:
            codes = np.stack(self.codes() or [np.append(np.arange(256), 0)])
            every = codes[np.arange(sizes["CODES"]) % len(codes)]
            tables["codes"] = np.pad(every, ((0, 0), (0, 512 - codes.shape[1]))).ravel().tolist()
        return {f"{name}.mem": "".join(f"{word:x}\n" for word in words) for name, words in tables.items()}


def _inputs(layer: Layer, number: int) -> Iterator[Input]:
    """The layer's own input, then its shortcut."""
    channels, outputs = layer.in_shape[2], layer.out_shape[2]
    how: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding}
    if _pools(layer):
        ones = np.broadcast_to(np.eye(channels, dtype=np.int64), (1, layer.kernel[1], channels, channels))
        yield Input(number - 1, ones, layer.kernel, inside=1, wide=1, **how)
    else:
        groups = {"inside": channels // layer.groups, "wide": outputs // layer.groups} if layer.groups > 1 else {}
        how |= groups
        yield Input(number - 1, layer.inputs[0].dense().astype(np.int64) << layer.shift, layer.inputs[0].reads, **how)
    if (shortcut := layer.shortcut) is not None:
        groups = {"inside": 1, "wide": 1} if shortcut.kind == "diagonal" and shortcut.outputs == outputs else {}
        weight = shortcut.dense().astype(np.int64) << layer.shift
        weight = np.pad(weight, ((0, 0), (0, 0), (0, 0), (0, outputs - shortcut.outputs)))
        yield Input(shortcut.source, weight, (1, 1), stride=shortcut.stride, **groups)


def _pools(layer: Layer) -> bool:
    return layer.neuron.kind == "pool"


def _block_rams(depth: int, width: int) -> int:
    """Block RAMs of a memory, each 1024 x 18 bits, 2048 x 9, 4096 x 4, 8192 x 2 or 16384 x 1; narrower ones for the rest."""
    if width <= 0:
        return 0
    shapes = ((1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
    whole = (-(-depth // rows) * (width // bits) + _block_rams(depth, width % bits) for rows, bits in shapes if bits <= width)
    return min(*whole, *(-(-depth // rows) for rows, bits in shapes if bits >= width), 1 << 20)


def _lowest(size: int, taken: list[tuple[int, int]]) -> int:
    """The lowest address from which on `size` words are free. taken: (first, size) of what is in use."""
    ends = [0, *(first + room for first, room in taken)]
    return min(at for at in ends if all(at + size <= first or first + room <= at for first, room in taken))


def _bits(value: int) -> int:
    """Bits of a number, at least 1."""
    return max(1, int(value).bit_length())


def _joined(values: list[int], bits: list[int]) -> int:
    """Fields in one word, the first in the highest bits; negative ones in two's complement."""
    word = 0
    for value, width in zip(values, bits, strict=True):
        word = word << width | value & (1 << width) - 1
    return word


def _widths(fields: str, widths: dict[str, int]) -> list[int]:
    kinds = (text.split(":")[1] for text in fields.split())
    return [widths[kind] if kind in widths else int(kind) for kind in kinds]


def _width(fields: str, widths: dict[str, int]) -> int:
    return sum(_widths(fields, widths))


def _packed(fields: str, values: dict[str, int], widths: dict[str, int]) -> int:
    """A record of rtl/fs.sv as a word."""
    return _joined([values[text.split(":")[0]] for text in fields.split()], _widths(fields, widths))


def _rows(values: Ints, bits: int) -> list[int]:
    """Rows of numbers as words, the first number in the lowest bits."""
    return [_joined(row[::-1], [bits] * len(row)) for row in values.tolist()]
