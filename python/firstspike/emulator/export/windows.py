"""The texts of a net of windows as C99: levels instead of spike times, in closed form (docs/emulator.md, "Nets of windows")."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...spikes import SpikeTimes
from ..program.layers import narrowed
from ..program.windows import WindowLayer, WindowProgram
from ..reporting.run import run
from . import tables

_INT32 = (1 << 31) - 1


def is_wide(program: WindowProgram) -> bool:
    """Whether some sum needs 64 bits. ValueError if a register could overflow: the closed form holds for exact sums."""
    for layer in program.layers:
        if not all(layer.overflow_free().values()):
            raise ValueError(
                f"program must be one whose registers cannot overflow, but those of layer {layer.name} can"
            )
    return max(int(np.abs(layer.ranges()[1]).max() + np.abs(_bias(layer)).max()) for layer in program.layers) >= _INT32


def _bias(layer: WindowLayer) -> NDArray[np.int64]:
    """What a sum begins with, so that the level is its quotient by the rise."""
    if layer.pools or not layer.fires:
        return layer.bias
    return layer.bias - layer.reached + layer.rise * (layer.steps + 1)


def _weights(layer: WindowLayer) -> list[NDArray[np.signedinteger]]:
    """The weights of a layer and of its shortcut, shifted."""
    found = [] if layer.pools else [layer.weight]
    found += [] if layer.shortcut is None else [layer.shortcut.weight]
    return [narrowed(weight.astype(np.int64) << layer.shift) for weight in found]


def levels_of(times: NDArray[np.uint8], steps: int) -> NDArray[np.uint8]:
    """The level T - t of each spike, 0 where silent."""
    return np.where(times == 255, 0, steps - times.astype(np.int64)).astype(np.uint8)


def pixel_table(program: WindowProgram) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """(level of each pixel value [channels or 1, 256], level of the border [channels or 1]); None if it takes spikes."""
    encoder, (height, width, channels) = program.encoder, program.input_shape
    if encoder.kind != "window":
        return None
    flat, (rows, columns) = height == width == 1, encoder.padding
    shape = (encoder.image_shape or (channels,)) if flat else (channels, height - 2 * rows, width - 2 * columns)
    pixels = torch.arange(256, dtype=torch.uint8).view(256, *[1] * len(shape)).expand(256, *shape)
    levels = levels_of(program.input_times(pixels), program.steps)
    if flat:
        table = levels[:, :: math.prod(shape[1:])] if len(shape) > 1 else levels
        border = table[0] * 0
    else:
        maps = levels.reshape(256, height, width, channels)
        table, border = maps[:, rows, columns], maps[0, 0, 0]
    if (table == table[:, :1]).all() and (border == border[0]).all():
        table, border = table[:, :1], border[:1]
    return np.ascontiguousarray(table.T), border


def sizes(program: WindowProgram) -> tuple[int, int]:
    """Bytes of the constant tables, and of the state (without the compiler's padding)."""
    width = 8 if is_wide(program) else 4
    weights = sum(weight.nbytes for layer in program.layers for weight in _weights(layer))
    constants = sum(2 * layer.out_shape[2] * width for layer in program.layers)
    encodes, table = _encoding(program)
    firing = _firing(program)
    channels = max(layer.out_shape[2] for layer in program.layers)
    state = firing + (channels + program.classes) * width + 4 + (int(np.prod(program.input_shape)) if encodes else 0)
    return weights + constants + table, state


def _firing(program: WindowProgram) -> int:
    return max(1, sum(layer.neurons for layer in program.layers if layer.fires))


def _encoding(program: WindowProgram) -> tuple[bool, int]:
    """Whether pixels are not yet levels, and the bytes of the tables that make them so."""
    found = pixel_table(program)
    if found is None:
        return False, 0
    table, border = found
    if len(table) == 1 and not any(program.encoder.padding) and (table[0] == np.arange(256)).all():
        return False, 0
    return True, table.nbytes + border.nbytes


def network_header(program: WindowProgram) -> str:
    """The text of fs_network.h."""
    wide, found, (encodes, _) = is_wide(program), pixel_table(program), _encoding(program)
    (height, width, channels), (rows, columns) = program.input_shape, program.encoder.padding
    constants: dict[str, int | str] = {
        "FS_LAYERS": len(program.layers),
        "FS_SOURCES": height * width * channels,
        "FS_PIXELS": (height - 2 * rows) * (width - 2 * columns) * channels,
        "FS_STEPS": program.steps,
        "FS_NEURONS": _firing(program),
        "FS_CHANNELS": max(layer.out_shape[2] for layer in program.layers),
        "FS_OUTPUTS": program.classes,
        "FS_HAS_ENCODER": int(found is not None),
        "FS_ENCODES": int(encodes),
        "FS_TABLE_BYTES": sizes(program)[0],
    }
    if encodes and found is not None:
        constants |= {"FS_TABLES": len(found[0]), "FS_BORDER_H": rows, "FS_BORDER_W": columns}
    declared = (
        "\nextern const uint8_t fs_level_of_pixel[FS_TABLES][256];\nextern const uint8_t fs_border_levels[FS_TABLES];\n"
    )
    return (
        f"/* {tables.comment(program.name)}, profile {tables.comment(program.profile.name)}; written by firstspike. */\n"
        "#ifndef FS_NETWORK_H\n#define FS_NETWORK_H\n\n#include <stdint.h>\n\n"
        f"typedef {'int64_t' if wide else 'int32_t'} fs_int;\n\n"
        f"/* Pixels: {height - 2 * rows} rows, {width - 2 * columns} columns, {channels} channels, numbered in this order. */\n"
        + tables.defines(constants)
        + (declared if encodes else "")
        + "\n#endif\n"
    )


def network_source(program: WindowProgram) -> str:
    """The text of fs_network.c."""
    wide, first = is_wide(program), 0
    parts, texts = ['#include "fs_core.h"\n'], []
    for n, layer in enumerate(program.layers):
        names = ["weights"] * (not layer.pools) + ["shortcut"] * (layer.shortcut is not None)
        sizes = {}
        for name, weight in zip(names, _weights(layer), strict=True):
            sizes[name] = weight.itemsize
            parts.append(tables.static_table(f"int{8 * weight.itemsize}_t {name}_{n}", weight))
        kernel = layer.kernel if layer.kind == "conv" else layer.pooled_shape[:2]
        shape = (n - 1, *layer.in_shape, layer.pool, *kernel, *layer.stride, *layer.padding, layer.groups)
        own = "0" if layer.pools else f"weights_{n}"
        inputs = [_record((*shape, int(layer.kind == "conv"), sizes.get("weights", 1)), own)]
        if (side := layer.shortcut) is not None:
            groups = len(side.weight) if side.weight.ndim == 1 else 1
            shape = (side.source, *side.in_shape, side.pool, 1, 1, *side.stride, 0, 0, groups)
            inputs.append(_record((*shape, 1, sizes["shortcut"]), f"shortcut_{n}"))
        parts.append(tables.static_table(f"fs_int bias_{n}", _bias(layer), wide))
        parts.append(
            tables.static_table(f"fs_int rise_{n}", np.ones_like(layer.rise) if layer.pools else layer.rise, wide)
        )
        numbers = (*layer.out_shape, first, layer.steps, len(inputs))
        texts.append(f"    {{{', '.join(map(str, numbers))}, bias_{n}, rise_{n}, {{{', '.join(inputs)}}}}}")
        first += layer.neurons
    parts.append("const fs_layer fs_layers[FS_LAYERS] = {\n" + ",\n".join(texts) + "};\n")
    found, (encodes, _) = pixel_table(program), _encoding(program)
    if encodes and found is not None:
        parts.append(tables.table("uint8_t fs_level_of_pixel[FS_TABLES][256]", found[0]))
        parts.append(tables.table("uint8_t fs_border_levels[FS_TABLES]", found[1]))
    return "\n".join(parts)


def _record(numbers: tuple[int, ...], weights: str) -> str:
    return f"{{{', '.join(map(str, numbers))}, {weights}}}"


def vectors(program: WindowProgram, samples: Tensor | SpikeTimes) -> tuple[str, str, float]:
    """The texts of fs_vectors.h and fs_vectors.c for V samples, and the mean of operations."""
    ran = run(program, samples, trace=len(samples))
    operations = ran.count("delivered").sum(1)
    firing = [n for n, layer in enumerate(program.layers) if layer.fires]
    levels = [levels_of(np.asarray(ran.trace[f"times.{n}"], np.uint8), program.layers[n].steps) for n in firing]
    pixels = isinstance(samples, Tensor) and samples.dtype == torch.uint8 and pixel_table(program) is not None
    inputs = levels_of(np.asarray(ran.trace["input_times"], np.uint8), program.steps)
    if pixels and isinstance(samples, Tensor):
        flat = program.input_shape[:2] == (1, 1)
        inputs = (samples if flat else samples.permute(0, 2, 3, 1)).flatten(1).cpu().numpy()
    values: dict[str, NDArray[np.integer]] = {
        f"uint8_t fs_vector_inputs[FS_VECTORS][{'FS_PIXELS' if pixels else 'FS_SOURCES'}]": inputs,
        "uint8_t fs_vector_levels[FS_VECTORS][FS_NEURONS]": np.concatenate(levels, 1) if levels else inputs[:, :1] * 0,
        "fs_int fs_vector_scores[FS_VECTORS][FS_OUTPUTS]": np.asarray(ran.scores, np.int64),
        "int32_t fs_vector_classes[FS_VECTORS]": ran.predictions,
        "uint32_t fs_vector_operations[FS_VECTORS]": operations,
    }
    return *tables.vector_files(values, len(operations), pixels, is_wide(program)), float(operations.mean())
