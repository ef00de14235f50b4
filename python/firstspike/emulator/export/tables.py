"""Integers and names as C."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def vector_files(
    tables: dict[str, NDArray[np.integer]], count: int, pixels: bool, wide: bool = False
) -> tuple[str, str]:
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
