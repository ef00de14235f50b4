"""Integers and names as C: tables, packed weights, and how C takes images."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..program.layers import narrowed
from ..program.program import Program

_PER_LINE = 16
Kind = TypeVar("Kind", bound=np.integer)


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


def by_row(weight: NDArray[Kind]) -> NDArray[Kind]:
    """Weights of a convolution with the input channel after the kernel's row and column."""
    return weight.transpose(1, 2, 0, 3) if weight.ndim == 4 else weight


def pixels_of(program: Program, images: Tensor) -> NDArray[np.uint8]:
    """Images of bytes [B, ...] as rows of pixels in the order of the program's input, [B, sources]."""
    flat = program.input_shape[:2] == (1, 1)
    pixels: NDArray[np.uint8] = (images if flat else images.permute(0, 2, 3, 1)).flatten(1).cpu().numpy()
    return pixels


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
