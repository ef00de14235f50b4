"""Integers and names as C, and what both kinds of nets have in common: packed weights, encoders, sizes, test vectors."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...spikes import SpikeTimes
from ..program import pixels
from ..program.layers import narrowed
from ..program.program import Program

_PER_LINE = 16


def comment(text: str) -> str:
    """The text without what could end a comment."""
    return "".join(c if c.isalnum() or c in " -_.,:x" else "?" for c in text)


def number(value: int, wide: bool = False) -> str:
    """An integer constant; `wide`: of 64 bits."""
    if not wide:
        return str(int(value))
    return f"(-INT64_C({-int(value)}))" if value < 0 else f"INT64_C({int(value)})"


def table(declaration: str, values: NDArray[np.integer], wide: bool = False) -> str:
    """`const DECLARATION = {...};` for an array of one dimension, `{{...}, ...}` for rows."""
    texts = [number(int(value), wide) for value in values.ravel()]
    width = _PER_LINE if values.ndim == 1 else values.shape[1]
    lines = [", ".join(texts[i : i + width]) for i in range(0, len(texts), width)]
    lines = lines if values.ndim == 1 else [f"{{{line}}}" for line in lines]
    return f"const {declaration} = {{\n    " + ",\n    ".join(lines) + "};\n"


def static_table(declaration: str, values: NDArray[np.integer], wide: bool = False) -> str:
    """The table of that type and name."""
    return "static " + table(f"{declaration}[{values.size}]", values.ravel(), wide)


def defines(values: dict[str, int | str]) -> str:
    """`#define` lines."""
    return "".join(f"#define {name} {value}\n" for name, value in values.items())


class Weights(NamedTuple):
    """Weights [rows, outputs] as C stores them: bits of a weight, places of a row, and the array."""

    bits: int
    places: int
    values: NDArray[np.integer]

    def text(self, name: str) -> str:
        """The table."""
        kind = "uint8_t" if self.bits == 4 else f"int{self.bits}_t"
        return static_table(f"{kind} {name}", self.values)


def packed(weight: NDArray[np.integer], groups: int = 1) -> Weights:
    """Weights [..., outputs] in the fewest bits; of 4 bits two are in a byte, the first in its low half. Rows end on bytes."""
    rows = weight.astype(np.int64).reshape(-1, weight.shape[-1])
    if rows.min() < -8 or rows.max() > 7 or groups > 1:
        values = narrowed(rows)
        return Weights(8 * values.itemsize, rows.shape[1], values)
    rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))) & 15
    return Weights(4, rows.shape[1], (rows[:, ::2] | rows[:, 1::2] << 4).astype(np.uint8))


def by_row(weight: NDArray[np.integer]) -> NDArray[np.integer]:
    """Weights of a convolution with the input channel after the kernel's row and column."""
    return weight.transpose(1, 2, 0, 3) if weight.ndim == 4 else weight


class Input(NamedTuple):
    """How C takes images. codes: the spike time of each pixel value [channels or 1, 256], border: of the border."""

    pixels: int
    codes: NDArray[np.uint8] | None
    border: NDArray[np.uint8] | None


def input_of(program: Program) -> Input | None:
    """How C takes images; None if it takes spikes."""
    if program.pixels is not None:
        return Input(math.prod(program.pixels.in_shape), None, None)
    encoder, (height, width, channels) = program.encoder, program.input_shape
    if encoder.kind not in ("windowed", "latency"):
        return None
    flat, (rows, columns) = height == width == 1, encoder.padding
    shape = (encoder.image_shape or (channels,)) if flat else (channels, height - 2 * rows, width - 2 * columns)
    images = torch.arange(256, dtype=torch.uint8).view(256, *[1] * len(shape)).expand(256, *shape)
    if (scaling := encoder.normalize) is not None and scaling.saturate:  # C refuses no pixel
        low, high = (bound.view(-1, *[1] * (len(shape) - 1)) for bound in (scaling.mean, scaling.mean + scaling.std))
        images = (images / 255).clamp(low, high)
    times = program.input_times(images)
    if flat:
        table = times[:, :: math.prod(shape[1:])]
        border = table[0] * 0
    else:
        maps = times.reshape(256, height, width, channels)
        table, border = maps[:, rows, columns], maps[0, 0, 0]
    if (table == table[:, :1]).all() and (border == border[0]).all():
        table, border = table[:, :1], border[:1]
    return Input(math.prod(shape), np.ascontiguousarray(table.T), border)


def most_operations(program: Program) -> int:
    """Synaptic operations of a sample if every neuron fires."""
    return sum(part.synapses * part.pool**2 for layer in program.layers for part in layer.inputs)


def header(
    program: Program,
    wide: bool,
    constants: dict[str, int | str],
    taken: Input | None,
    declared: str,
    operations: float | None,
) -> str:
    """The text of fs_network.h. taken: how pixels come in, without codes where they are the sources."""
    first, height_width = program.pixels, program.input_shape[:2]
    order = first.in_shape if first is not None else program.input_shape
    rows, columns = program.encoder.padding
    codes = None if taken is None else taken.codes
    constants |= {
        "FS_SOURCES": math.prod(program.input_shape),
        "FS_STEPS": program.steps,
        "FS_HAS_PIXELS": int(taken is not None),
        "FS_PIXELS": 0 if taken is None else taken.pixels,
        "FS_HAS_FIRST": int(first is not None),
        "FS_MACS": 0 if first is None else first.synapses,
        "FS_ENCODES": int(codes is not None),
        "FS_KEEPS_SOURCES": int(first is not None or codes is not None),
        "FS_HEIGHT": height_width[0],
        "FS_WIDTH": height_width[1],
        "FS_DEPTH": program.input_shape[2],
        "FS_TABLES": 0 if codes is None else len(codes),
        "FS_BORDER_H": rows,
        "FS_BORDER_W": columns,
    }
    flash, ram, macs = (constants[f"FS_{name}"] for name in ("TABLE_BYTES", "STATE_BYTES", "MACS"))
    mean = "" if operations is None else f", {operations:.0f} in the mean of the test vectors"
    what = "Pixels" if taken is not None else "Sources"
    return (
        f"/* {comment(program.name)}, profile {comment(program.profile.name)}; written by firstspike.\n\n"
        f"   Flash: {flash} bytes of tables, and the code. RAM: {ram} bytes, and padding.\n"
        f"   Operations per sample: {macs} multiply-adds of pixels, at most {most_operations(program)} synaptic{mean}.\n"
        f"   {what}: {order[0]} rows, {order[1]} columns, {order[2]} channels, numbered in this order. */\n"
        "#ifndef FS_NETWORK_H\n#define FS_NETWORK_H\n\n#include <stdint.h>\n\n"
        f"typedef {'int64_t' if wide else 'int32_t'} fs_int;\ntypedef {'uint64_t' if wide else 'uint32_t'} fs_uint;\n\n"
        + defines(constants)
        + (
            "\nextern const uint8_t fs_code[FS_TABLES][256];\nextern const uint8_t fs_border[FS_TABLES];\n"
            if codes is not None
            else ""
        )
        + declared
        + "\n#endif\n"
    )


def codes(taken: Input | None) -> list[str]:
    """The tables of an encoder."""
    if taken is None or taken.codes is None or taken.border is None:
        return []
    return [table("uint8_t fs_code[FS_TABLES][256]", taken.codes), table("uint8_t fs_border[FS_TABLES]", taken.border)]


def inputs(program: Program, samples: Tensor | SpikeTimes, spikes: NDArray[np.uint8]) -> tuple[str, NDArray[np.uint8], bool]:
    """Declaration and array of the inputs of test vectors, pixels [V, FS_PIXELS] or `spikes`; and True if they are pixels."""
    as_pixels = isinstance(samples, Tensor) and input_of(program) is not None
    if isinstance(samples, Tensor) and program.pixels is not None:
        spikes = pixels.bytes_of(program.pixels, samples)
    elif isinstance(samples, Tensor) and as_pixels:
        as_pixels = samples.dtype == torch.uint8
        if as_pixels:
            flat = program.input_shape[:2] == (1, 1)
            spikes = (samples if flat else samples.permute(0, 2, 3, 1)).flatten(1).cpu().numpy()
    return f"uint8_t fs_vector_inputs[FS_VECTORS][{'FS_PIXELS' if as_pixels else 'FS_SOURCES'}]", spikes, as_pixels


def vector_files(tables: dict[str, NDArray[np.integer]], count: int, pixels: bool, wide: bool = False) -> tuple[str, str]:
    """The texts of fs_vectors.h and fs_vectors.c."""
    header = (
        "/* Test vectors; written by firstspike. */\n#ifndef FS_VECTORS_H\n#define FS_VECTORS_H\n\n"
        + defines({"FS_VECTORS": count, "FS_VECTOR_PIXELS": int(pixels)})
        + '\n#include "fs_network.h"\n\n'
        + "".join(f"extern const {name};\n" for name in tables)
        + "\n#endif\n"
    )
    texts = [table(name, values, wide and name.startswith("fs_int")) for name, values in tables.items()]
    return header, "\n".join(['#include "fs_vectors.h"\n', *texts])
