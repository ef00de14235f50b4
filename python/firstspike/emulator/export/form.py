"""A program as C99, by the parts that its timing gives: the texts of the network, and of its test vectors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, uint8

from ...spikes import SpikeTimes
from ..program import pixels
from ..program.program import Program
from ..reporting.run import Run, run
from . import tables

INT32 = (1 << 31) - 1
Constants = dict[str, int | str]
Vectors = dict[str, NDArray[np.integer]]


class Form(ABC):
    """A program as C99, for the core in `folder`.

    images: how C takes images, None if it takes spikes. wide: the arithmetic needs 64 bits, else 32. weights: by name in C.
    """

    folder: ClassVar[str]

    def __init__(self, program: Program) -> None:
        self.program = program
        self.images = self._images(tables.input_of(program))
        self.wide = self._largest() >= INT32
        self.weights = self._weights()

    def _images(self, images: tables.Input | None) -> tables.Input | None:
        return images

    @abstractmethod
    def _largest(self) -> int:
        """A bound of all values that the arithmetic forms, the products of leaks aside."""

    @abstractmethod
    def _weights(self) -> dict[str, tables.Weights]:
        """The weights as C stores them."""

    @abstractmethod
    def _sizes(self) -> tuple[int, int]:
        """Bytes of the tables besides weights and codes, and of the state but the sources."""

    @abstractmethod
    def _constants(self) -> Constants:
        """The definitions of this timing."""

    @abstractmethod
    def _tables(self) -> list[str]:
        """The tables besides weights and codes."""

    @abstractmethod
    def _traced(self, ran: Run, sources: NDArray[np.uint8]) -> Vectors:
        """The values of a run that C computes as well, by their declarations. sources: spike times of the input."""

    @property
    def integer(self) -> int:
        """Bytes of an `fs_int`."""
        return 8 if self.wide else 4

    @property
    def keeps_sources(self) -> bool:
        """True if C holds spikes of the input in its state."""
        return self.program.pixels is not None or (self.images is not None and self.images.codes is not None)

    def sizes(self) -> tuple[int, int]:
        """Bytes of the constant tables, and of the state (without the compiler's padding)."""
        constants, state = self._sizes()
        constants += sum(weights.values.nbytes for weights in self.weights.values())
        if self.images is not None and self.images.codes is not None:
            constants += self.images.codes.nbytes + len(self.images.codes)
        return constants, state + (math.prod(self.program.input_shape) if self.keeps_sources else 0)

    def header(self, operations: float | None) -> str:
        """The text of fs_network.h. operations: synaptic, mean of the test vectors."""
        program, images, wide = self.program, self.images, self.wide
        first, codes = program.pixels, None if images is None else images.codes
        height, width, depth = program.input_shape if first is None else first.in_shape
        bits = {weights.bits for weights in self.weights.values()}
        (flash, ram), macs = self.sizes(), 0 if first is None else first.synapses
        most = sum(part.synapses * part.pool**2 for layer in program.layers for part in layer.inputs)
        mean = "" if operations is None else f", {operations:.0f} in the mean of the test vectors"
        constants: Constants = self._constants() | {
            "FS_LAYERS": len(program.layers),
            "FS_WIDEST": max(bits, default=8),
            "FS_NIBBLES": int(4 in bits),
            "FS_TABLE_BYTES": flash,
            "FS_STATE_BYTES": ram,
            "FS_SOURCES": math.prod(program.input_shape),
            "FS_STEPS": program.steps,
            "FS_HAS_PIXELS": int(images is not None),
            "FS_PIXELS": 0 if images is None else images.pixels,
            "FS_HAS_FIRST": int(first is not None),
            "FS_MACS": macs,
            "FS_MARGIN": tables.number(program.readout.margin or 0, True),
            "FS_ENCODES": int(codes is not None),
            "FS_KEEPS_SOURCES": int(self.keeps_sources),
            **dict(zip(("FS_HEIGHT", "FS_WIDTH", "FS_DEPTH"), program.input_shape, strict=True)),
            "FS_TABLES": 0 if codes is None else len(codes),
            **dict(zip(("FS_BORDER_H", "FS_BORDER_W"), program.encoder.padding, strict=True)),
        }
        declared = "\nextern const uint8_t fs_code[FS_TABLES][256];\nextern const uint8_t fs_border[FS_TABLES];\n"
        return (
            f"/* {tables.comment(program.name)}, profile {tables.comment(program.profile.name)}; written by firstspike.\n\n"
            f"   Flash: {flash} bytes of tables, and the code. RAM: {ram} bytes, and padding.\n"
            f"   Operations per sample: {macs} multiply-adds of pixels, at most {most} synaptic{mean}.\n"
            f"   {'Sources' if images is None else 'Pixels'}: {height} rows, {width} columns, {depth} channels, "
            "numbered in this order. */\n"
            "#ifndef FS_NETWORK_H\n#define FS_NETWORK_H\n\n#include <stdint.h>\n\n"
            f"typedef {'int64_t' if wide else 'int32_t'} fs_int;\ntypedef {'uint64_t' if wide else 'uint32_t'} fs_uint;\n\n"
            f"{tables.defines(constants)}{'' if codes is None else declared}\n#endif\n"
        )

    def source(self) -> str:
        """The text of fs_network.c."""
        parts = ['#include "fs_core.h"\n', *(weights.text(name) for name, weights in self.weights.items()), *self._tables()]
        if self.images is not None and self.images.codes is not None and self.images.border is not None:
            parts.append(tables.table("uint8_t fs_code[FS_TABLES][256]", self.images.codes))
            parts.append(tables.table("uint8_t fs_border[FS_TABLES]", self.images.border))
        return "\n".join(parts)

    def table(self, name: str, values: NDArray[np.integer]) -> str:
        """A static table of `fs_int`."""
        return tables.static_table(f"fs_int {name}", values, self.wide)

    def vectors(self, samples: Tensor | SpikeTimes) -> tuple[str, str, float]:
        """The texts of fs_vectors.h and fs_vectors.c for V samples, and the mean of operations."""
        ran = run(self.program, samples, trace=len(samples))
        operations, traced = ran.count("delivered").sum(1), self._traced(ran, np.asarray(ran.trace["input_times"], np.uint8))
        pixel_values = self._pixels(samples)
        inputs, size = (next(iter(traced.values())), "FS_SOURCES") if pixel_values is None else (pixel_values, "FS_PIXELS")
        values: Vectors = {
            f"uint8_t fs_vector_inputs[FS_VECTORS][{size}]": inputs,
            **traced,
            "int32_t fs_vector_classes[FS_VECTORS]": ran.predictions,
            "uint32_t fs_vector_operations[FS_VECTORS]": operations,
        }
        defines = tables.defines({"FS_VECTORS": len(operations), "FS_VECTOR_PIXELS": int(pixel_values is not None)})
        declared = "".join(f"extern const {name};\n" for name in values)
        header = (
            "/* Test vectors; written by firstspike. */\n#ifndef FS_VECTORS_H\n#define FS_VECTORS_H\n\n"
            f'{defines}\n#include "fs_network.h"\n\n{declared}\n#endif\n'
        )
        texts = [tables.table(name, array, self.wide and name.startswith("fs_int")) for name, array in values.items()]
        return header, "\n".join(['#include "fs_vectors.h"\n', *texts]), float(operations.mean())

    def _pixels(self, samples: Tensor | SpikeTimes) -> NDArray[np.uint8] | None:
        """The pixels of test vectors, [V, FS_PIXELS]; None where these are spikes."""
        if not isinstance(samples, Tensor) or self.images is None:
            return None
        if self.program.pixels is not None:
            return pixels.bytes_of(self.program.pixels, samples)
        if samples.dtype != uint8:
            return None
        return tables.pixels_of(self.program, samples)
