"""The core of `export_rtl` for a layout: its sizes, the tables that it loads, its block RAMs. rtl/fs.sv has the records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

import numpy as np

from ..program.program import Refusal
from .layout import Input, Ints, Layout, Map, Stage, is_pool
from .tables import input_of
from .windowed import level_codes

SOURCES = resources.files(__package__).joinpath("rtl")


def sizes(layout: Layout, multipliers: int) -> dict[str, int]:
    """The sizes that rtl/fs.sv includes."""
    maps, lane_bits, codes = layout.maps.values(), _bits(layout.lanes - 1), codes_of(layout)
    numbers: dict[str, list[int]] = {"level_t": [layout.program.steps]}
    for types, records in _records(layout).values():
        for kind, column in zip(types, zip(*records, strict=True), strict=True):
            numbers.setdefault(kind, []).extend(map(abs, column))
    addresses = [*numbers["address_t"], *numbers["position_t"], len(layout.weights), layout.tile_count << lane_bits]
    addresses += [layout.spikes, layout.marks, 512 * len(codes)]
    addresses += [max(each.pitch + each.columns + each.shape[2], each.shape[1] * each.shape[2]) for each in maps]
    return {
        "LANES": layout.lanes,
        "CLUSTERS": layout.clusters,
        "MULTIPLIERS": min(multipliers, layout.lanes * layout.clusters),
        "WEIGHT_BITS": _signed_bits(layout.weights),
        "LEVEL_BITS": _bits(max(numbers["level_t"])),
        "MEMBRANE_BITS": max(_signed_bits(_membranes(stage)) for stage in layout.stages),
        "RISE_BITS": _bits(max(int(stage.rise.max()) for stage in layout.stages)),
        "STAGES": layout.quotient_bits,
        "PLACE_BITS": _bits(max(each.columns * each.shape[2] for each in maps) - 1),
        "ADDRESS_BITS": _bits(max(addresses)) + 1,
        "COUNT_BITS": _bits(max(numbers["count_t"]) + 1),
        "LANE_BITS": lane_bits,
        "SPIKES": layout.spikes,
        "MARKS": layout.marks,
        "WEIGHT_ROWS": max(2, len(layout.weights)),
        "TILES": max(2, layout.tile_count),
        "LAYERS": max(2, len(layout.stages)),
        "CODES": len(codes),
        "POOLS": int(any(stage.pool != (1, 1) or is_pool(stage.layer) for stage in layout.stages)),
        "SKIPS": int(layout.skips),
    }


def tables(layout: Layout, sizes: Mapping[str, int]) -> dict[str, str]:
    """The files that the core loads, by their names."""
    tiles = [(stage, tile) for stage in layout.stages for tile in stage.tiles]
    starts, rises = np.full((2, len(tiles), 1 << sizes["LANE_BITS"]), -1)
    for n, (stage, tile) in enumerate(tiles):
        starts[n, : len(tile)] = stage.start[tile.start : tile.stop]
        rises[n, : len(tile)] = stage.rise[tile.start : tile.stop]
    codes = codes_of(layout)
    words = {
        **{name: _packed(types, records, sizes) for name, (types, records) in _records(layout).items()},
        "weights": _rows(layout.weights, sizes["WEIGHT_BITS"]),
        "starts": _rows(starts[:, : layout.lanes], sizes["MEMBRANE_BITS"]),
        "rises": _rows(rises.reshape(-1, 1), sizes["RISE_BITS"]),
        "codes": np.pad(codes, ((0, 0), (0, 512 - codes.shape[1]))).ravel().tolist(),
    }
    return {f"{name}.mem": "".join(f"{word:x}\n" for word in numbers) for name, numbers in words.items() if numbers}


def codes_of(layout: Layout) -> Ints:
    """The levels of pixel values and of the border, [tables, 257]: one table or one per channel; none if pixels are levels."""
    images = level_codes(layout.program, input_of(layout.program))
    if images is None or images.codes is None or images.border is None:
        return np.zeros((0, 257), np.int64)
    if len(images.codes) > 1 and layout.program.input_shape[:2] == (1, 1):
        raise Refusal("net", "its channels have different scales, and its first layer is fully connected", "scale all alike")
    return np.concatenate([images.codes, images.border[:, None]], 1).astype(np.int64)


def block_rams(sizes: Mapping[str, int]) -> int:
    """Block RAMs of 18 kbit that an ECP5 needs, at most. Smaller memories become lookup tables, as yosys 0.52 maps them."""
    row, clusters = sizes["LANES"] * sizes["WEIGHT_BITS"], sizes["CLUSTERS"]
    memories = [
        ((clusters + 1) // 2, sizes["WEIGHT_ROWS"], row),
        (clusters, sizes["SPIKES"], sizes["PLACE_BITS"] + sizes["LEVEL_BITS"]),
        (2 * clusters, sizes["MARKS"], sizes["ADDRESS_BITS"]),
        (1, sizes["TILES"] << sizes["LANE_BITS"], sizes["RISE_BITS"]),
    ]
    starts = clusters * -(-sizes["LANES"] * sizes["MEMBRANE_BITS"] // 36) * -(-sizes["TILES"] // 512)  # of 512 x 36 bits
    few = sum(count * _block_rams(depth, width) for count, depth, width in memories if depth * width > 1800)
    return few + (starts if sizes["TILES"] > 48 else 0)


def _block_rams(depth: int, width: int) -> int:
    """Block RAMs of a memory, each 1024 x 18 bits, 2048 x 9, 4096 x 4, 8192 x 2 or 16384 x 1; narrower ones for the rest."""
    if width <= 0:
        return 0
    return min(
        -(-depth // rows) * max(1, width // bits) + _block_rams(depth, width % bits if bits <= width else 0)
        for rows, bits in ((1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
    )


def _membranes(stage: Stage) -> Ints:
    """The lowest and the highest membrane that spikes of any levels make, of each channel."""
    pairs = zip(stage.layer.sums(), stage.layer.inputs, strict=True)
    ends: Ints = stage.start + np.sum([bounds * part.window for bounds, part in pairs], 0)
    return ends


# ---- The records of rtl/fs.sv, each as a list of its fields in the order, and the lines, of that file


def _map(neurons: Map, used_rows: int) -> list[int]:
    height, width, channels = neurons.shape
    return [
        *(neurons.spikes, neurons.marks),
        *(height - 1, width - 1),
        neurons.pool - 1,
        *(used_rows, neurons.columns * neurons.pool),
        channels,
    ]


def _image(layout: Layout) -> list[int]:
    own = layout.maps[-1]
    return [*_map(own, own.rows), *layout.program.encoder.padding]


def _input(layout: Layout, stage: Stage, synapses: Input) -> list[int]:
    part, source, (_, columns, channels, _) = synapses.part, layout.source(synapses), synapses.weight.shape
    pool, blocks, pitch, split = source.pool, len(source.blocks), source.pitch, synapses.split
    up, left = part.padding[0] * pool, part.padding[1]
    down, right = stage.pool[0] * part.stride[0] * pool, stage.pool[1] * part.stride[1]
    per_tap, per_row = layout.block_room(synapses), columns * channels  # rows of weights
    if is_pool(stage.layer):
        per_tap = per_row = 0
    return [
        *(-up, -left * blocks),
        source.marks - up * pitch,
        left * channels,
        pitch,
        source.rows,
        1 if split else columns * blocks,
        *(part.reads[0] * pool - 1, columns - 1 if split else 0),
        pool - 1,
        *(blocks, per_tap - channels),
        per_tap + (columns - 1) * channels if split else per_row,
        *(right * blocks, -right * channels),
        *(down, down * pitch),
    ]


def _layer(layout: Layout, stage: Stage) -> list[int]:
    source, own, (rows, columns) = layout.source(stage.inputs[0]), layout.maps[stage.number], stage.layer.stride
    inputs = [_input(layout, stage, synapses) for synapses in stage.inputs]
    return [
        *inputs[0],
        *(inputs[1] if len(inputs) > 1 else [0] * len(inputs[0])),
        len(inputs) - 1,
        int(is_pool(stage.layer)),
        int(not stage.layer.fires),
        int(stage is layout.stages[layout.last_use]),
        len(stage.tiles) - 1,
        stage.first_tile,
        *(stage.pool[0] - 1, stage.pool[1] - 1),
        *(columns * len(source.blocks), -columns * source.shape[2]),
        *(rows * source.pool, rows * source.pool * source.pitch),
        stage.layer.steps,
        *_map(own, own.rows if stage.layer.fires else 0),  # a readout's membranes are no spikes
    ]


def _channels(layout: Layout, stage: Stage, index: int) -> list[int]:
    tile, own, words = stage.tiles[index], layout.maps[stage.number], []
    for each in stage.inputs:
        block = layout.source(each).blocks.index(each.channels_of(tile).start) if each.split else 0
        words += [block, each.base[index]]
    marked = tile.stop in (*own.blocks[1:], own.shape[2])
    return [len(tile) - 1, tile.start, int(marked), *words, *[0] * (4 - len(words))]


def _records(layout: Layout) -> dict[str, tuple[list[str], list[list[int]]]]:
    """The tables of records, by name: the types of the fields, and the fields of each."""
    tiles = [_channels(layout, stage, index) for stage in layout.stages for index in range(len(stage.tiles))]
    return {
        "image": (_types("image_t"), [_image(layout)]),
        "layers": (_types("layer_t"), [_layer(layout, stage) for stage in layout.stages]),
        "tiles": (_types("channels_t"), tiles),
    }


@cache
def _types(record: str) -> list[str]:
    """The types of a record's fields, and of those of the records within it, in order."""
    text = re.sub(r"//.*", "", SOURCES.joinpath("fs.sv").read_text(encoding="utf-8"))
    bodies = {name: body for body, name in re.findall(r"struct packed \{(.*?)\} (\w+);", text, re.DOTALL)}
    types: list[str] = []
    for kind, names in re.findall(r"(\w+) ([\w, ]+);", bodies[record]):
        types += (_types(kind) if kind in bodies else [kind]) * len(names.split(","))
    return types


def _packed(types: list[str], records: list[list[int]], sizes: Mapping[str, int]) -> list[int]:
    """Records as words."""
    widths = {f"{name.removesuffix('_BITS').lower()}_t": bits for name, bits in sizes.items()} | {"logic": 1}
    bits = [widths[kind.replace("position", "address")] for kind in types]
    return [_joined(zip(record, bits, strict=True)) for record in records]


def _joined(fields: Iterable[tuple[int, int]]) -> int:
    """Values in one word, each with its bits, the first in the highest; negative ones in two's complement."""
    word = 0
    for value, bits in fields:
        word = word << bits | value & (1 << bits) - 1
    return word


def _rows(values: Ints, bits: int) -> list[int]:
    """Rows of numbers as words, the first number in the lowest bits."""
    return [_joined((value, bits) for value in row[::-1]) for row in values.tolist()]


def _bits(value: int) -> int:
    """Bits of a number, at least 1."""
    return max(1, int(value).bit_length())


def _signed_bits(values: Ints) -> int:
    return 1 + max(_bits(values.max()), _bits(-int(values.min()) - 1))
