"""Tables of a program for other tools: NumPy archives, and memory images with one hexadecimal word per line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..._base import files
from ..program.program import Program
from ..program.serialization import take_apart

_TABLES = ("weight", "theta", "bias")


def write_npz(program: Program, path: Path) -> Path:
    """All arrays of a program file by their names, and `header`, its JSON text."""
    header, arrays = take_apart(program)
    return files.write_npz(path, {"header": np.array(json.dumps(header)), **arrays})


def write_mem(program: Program, folder: Path) -> list[Path]:
    """`layer.N.weight.mem`, `.theta.mem`, `.bias.mem` and, of a block, `.shortcut.mem`, as `$readmemh` of Verilog reads them.

    One word per line, two's complement in as many hexadecimal digits as the table needs, in the order of the array
    (docs/emulator.md, "Network").
    """
    tables = [(f"layer.{n}.{name}", getattr(layer, name)) for n, layer in enumerate(program.layers) for name in _TABLES]
    tables += [
        (f"layer.{n}.shortcut", layer.shortcut.weight) for n, layer in enumerate(program.layers) if layer.shortcut
    ]
    return [files.write_text(folder / f"{name}.mem", _words(values)) for name, values in tables]


def _words(values: NDArray[np.integer]) -> str:
    flat = values.astype(np.int64).ravel()
    most = max(-int(flat.min(initial=0)) - 1, int(flat.max(initial=0)))
    digits = -(-(most.bit_length() + 1) // 4)
    mask = (1 << 4 * digits) - 1
    lines = [f"{int(value) & mask:0{digits}x}" for value in flat]
    return f"// {len(lines)} words of {4 * digits} bits, two's complement\n" + "\n".join(lines) + "\n"
