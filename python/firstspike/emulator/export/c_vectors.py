"""Test vectors of real samples as C99: fs_vectors.h and fs_vectors.c."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...spikes import SpikeTimes
from ..program.engine import COUNTERS
from ..program.inputs import in_source_order, input_times
from ..program.program import Program
from ..reporting.runner import run
from . import c_text
from .c_network import pixel_times

_FACTOR = 0x9E3779B1


@dataclass(frozen=True, eq=False)
class Vectors:
    """What the emulator computes for V samples.

    pixels: uint8 [V, sources] in the order of the sources, or None where the C code has no encoder. inputs: spike times
    [V, sources]. times: of all neurons, uint8 [V, N]. hashes: uint32 [V], of all membranes in every step. classes,
    operations: int64 [V].
    """

    pixels: NDArray[np.uint8] | None
    inputs: NDArray[np.uint8]
    times: NDArray[np.uint8]
    hashes: NDArray[np.uint32]
    classes: NDArray[np.int64]
    operations: NDArray[np.int64]


def vectors(program: Program, samples: Tensor | SpikeTimes) -> Vectors:
    """The vectors of some samples, images or spikes as `emulator.run` takes them."""
    inputs = input_times(program, samples)
    raw = program.engine().run(inputs, all_times=True, trace=True)
    times = np.concatenate([t for t in raw.times if t is not None], 1)
    trace = np.concatenate([v for v in raw.membrane if v is not None], 2)
    pixels = None
    if isinstance(samples, Tensor) and samples.dtype == torch.uint8 and pixel_times(program) is not None:
        pixels = in_source_order(program, samples)
    return Vectors(
        pixels,
        inputs,
        times,
        np.array([_hash(sample) for sample in trace], np.uint32),
        run(program, samples).predictions,
        raw.counters[:, :, COUNTERS.index("delivered")].sum(1),
    )


def _hash(trace: NDArray[np.int64]) -> int:
    """hash * 0x9E3779B1 + word from 1 on, over the low and the high half of every membrane, modulo 2^32 (main.c)."""
    v = trace.ravel()
    words = np.stack([v & 0xFFFFFFFF, (v >> 32) & 0xFFFFFFFF], 1).ravel().astype(np.uint32)
    powers = np.full(len(words) + 1, _FACTOR, np.uint32)
    powers[0] = 1
    powers = np.multiply.accumulate(powers, dtype=np.uint32)[::-1]
    return (int(powers[0]) + int((words * powers[1:]).sum(dtype=np.uint64))) % (1 << 32)


def header(v: Vectors) -> str:
    """The text of fs_vectors.h."""
    return (
        "/* Test vectors; written by firstspike. */\n#ifndef FS_VECTORS_H\n#define FS_VECTORS_H\n\n"
        + c_text.defines({"FS_VECTORS": len(v.inputs), "FS_VECTOR_PIXELS": int(v.pixels is not None)})
        + '\n#include "fs_network.h"\n\n'
        + ("extern const uint8_t fs_vector_pixels[FS_VECTORS][FS_SOURCES];\n" if v.pixels is not None else "")
        + "extern const uint8_t fs_vector_inputs[FS_VECTORS][FS_SOURCES];\n"
        "extern const uint8_t fs_vector_times[FS_VECTORS][FS_NEURONS];\n"
        "extern const uint32_t fs_vector_hashes[FS_VECTORS];\n"
        "extern const int32_t fs_vector_classes[FS_VECTORS];\n"
        "extern const uint32_t fs_vector_operations[FS_VECTORS];\n\n#endif\n"
    )


def source(v: Vectors) -> str:
    """The text of fs_vectors.c."""
    parts = ['#include "fs_vectors.h"\n']
    if v.pixels is not None:
        parts.append(c_text.rows("uint8_t fs_vector_pixels[FS_VECTORS][FS_SOURCES]", v.pixels))
    return "\n".join(
        [
            *parts,
            c_text.rows("uint8_t fs_vector_inputs[FS_VECTORS][FS_SOURCES]", v.inputs),
            c_text.rows("uint8_t fs_vector_times[FS_VECTORS][FS_NEURONS]", v.times),
            c_text.array("uint32_t fs_vector_hashes[FS_VECTORS]", v.hashes),
            c_text.array("int32_t fs_vector_classes[FS_VECTORS]", v.classes),
            c_text.array("uint32_t fs_vector_operations[FS_VECTORS]", v.operations),
        ]
    )
