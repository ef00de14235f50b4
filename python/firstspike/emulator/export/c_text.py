"""Numbers and arrays as C99 text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_PER_LINE = 16


def number(value: int, wide: bool = False) -> str:
    """An integer constant; `wide`: of 64 bits."""
    if not wide:
        return str(int(value))
    return f"(-INT64_C({-int(value)}))" if value < 0 else f"INT64_C({int(value)})"


def array(declaration: str, values: NDArray[np.integer] | Iterable[int], wide: bool = False) -> str:
    """`const DECLARATION = {...};` for a one-dimensional array."""
    texts = [number(int(value), wide) for value in np.asarray(values).ravel()]
    lines = [", ".join(texts[i : i + _PER_LINE]) for i in range(0, len(texts), _PER_LINE)]
    return f"const {declaration} = {{\n    " + ",\n    ".join(lines) + "};\n"


def rows(declaration: str, values: NDArray[np.integer], wide: bool = False) -> str:
    """`const DECLARATION = {{...}, ...};` for a two-dimensional array."""
    lines = [", ".join(number(int(value), wide) for value in row) for row in values]
    return f"const {declaration} = {{\n    {{" + "},\n    {".join(lines) + "}};\n"


def defines(values: dict[str, int | str]) -> str:
    """`#define` lines."""
    return "".join(f"#define {name} {value}\n" for name, value in values.items())
