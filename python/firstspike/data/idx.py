"""The IDX file format (unsigned bytes only), as MNIST and Fashion-MNIST use it.

Two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a big-endian uint32, the data.
"""

from __future__ import annotations

import math
import struct

import numpy as np

_UNSIGNED_BYTE = 8


def encode(array: np.ndarray) -> bytes:
    """The raw IDX bytes of a uint8 array of 1..255 dimensions."""
    if array.dtype != np.uint8 or not 1 <= array.ndim <= 255:
        raise ValueError(f"array must be uint8 of 1..255 dimensions, got {array.dtype} {array.shape}")
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, _UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array).tobytes()


def decode(raw: bytes) -> np.ndarray:
    """The uint8 array held in raw IDX bytes (a read-only view of them).

    Raises:
        ValueError: if the header is not that of unsigned bytes or the length does not agree with it.
    """
    if len(raw) < 4 or raw[:3] != bytes((0, 0, _UNSIGNED_BYTE)) or len(raw) < 4 + 4 * raw[3]:
        raise ValueError(f"raw must begin with the IDX header of unsigned bytes, got {raw[:4].hex() or 'nothing'}")
    ndim = raw[3]
    shape = struct.unpack(f">{ndim}I", raw[4 : 4 + 4 * ndim])
    start, size = 4 + 4 * ndim, math.prod(shape)
    if ndim == 0 or len(raw) != start + size:
        raise ValueError(f"raw must hold {size} bytes after the header for shape {shape}, got {len(raw) - start}")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)
