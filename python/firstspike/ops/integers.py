"""Nets of windows in integers, for inference (cpp/cpu/integers.h): no operator, as weights need no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._support import array, cpu, threads


class IntegerInput(NamedTuple):
    """What a layer reads of one map: sums over pool x pool, then a kernel. source: a layer's index, -1 for the input."""

    source: int
    pool: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


class IntegerLayer(NamedTuple):
    """Levels floor((2^shift sum + offset) / rise) from 0 to steps, of map (height, width, channels); 0 steps: a readout.

    kind: "dense", weight int16 [outputs, rows of all inputs], a row per kernel row, kernel column and channel; "depthwise",
    weight [kernel rows and columns, channels]; "largest", of a kernel. offset, rise: int32 [outputs].
    """

    kind: str
    steps: int
    shift: int
    map: tuple[int, int, int]
    inputs: Sequence[IntegerInput]
    weight: Tensor
    offset: Tensor
    rise: Tensor


def exact(values: NDArray[np.signedinteger], kind: type[np.signedinteger], what: str) -> Tensor:
    """The integers in a narrower type; ValueError, beginning with `what`, where it does not hold them."""
    if values.size and max(-int(values.min()), int(values.max())) > np.iinfo(kind).max:
        raise ValueError(f"{what} must fit {np.iinfo(kind).bits} bits")
    return torch.from_numpy(np.ascontiguousarray(values, kind))


class IntegerKernel:
    """All layers in one call: levels, uint8 [B, units of the input], to sums, int32 [B, units of the readout]."""

    def __init__(self, input_map: tuple[int, int, int], layers: Sequence[IntegerLayer]) -> None:
        self._kernel: Any = cpu.IntegerNet(
            input_map,
            [
                (*x[:4], [(i.source, i.pool, *i.kernel, *i.stride, *i.padding) for i in x.inputs], *map(array, x[5:]))
                for x in layers
            ],
        )
        height, width, channels = layers[-1].map
        self._outputs = height * width * channels

    def __call__(self, levels: Tensor) -> Tensor:
        sums = torch.empty((len(levels), self._outputs), dtype=torch.int32)
        self._kernel.run(len(levels), array(levels), threads(), array(sums))
        return sums
