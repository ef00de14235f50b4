"""Prepacked layers, for inference (cpp/cpu/prepacked.h): no operator, as the weights are inside and need no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._base.geometry import Geometry
from ._support import array, cpu, threads


class PrepackedLayer(NamedTuple):
    """A layer as `fire_layer` and `integrate_layer` take it; its geometry's batch does not count."""

    geometry: Geometry
    neuron: tuple[float, ...]
    fires: bool
    weight: Tensor
    bias: Tensor | None


class PrepackedLayers:
    """All layers in one call: times [B, H, W, C] to the last one's times [B, H, W, C] or membranes [T, B, H, W, C]."""

    def __init__(self, layers: Sequence[PrepackedLayer]) -> None:
        self._kernel: Any = cpu.Prepacked(
            [(x.geometry, x.neuron, x.fires, array(x.weight), array(x.bias)) for x in layers], threads()
        )
        last = layers[-1].geometry
        self._out, self._steps = last.out_shape[1:], None if layers[-1].fires else last.steps

    def __call__(self, times: Tensor) -> Tensor:
        batch = len(times)
        if self._steps is None:
            out = torch.empty((batch, *self._out), dtype=torch.uint8, device="cpu")
        else:
            out = torch.empty((self._steps, batch, *self._out), dtype=torch.float32, device="cpu")
        self._kernel.run(batch, array(times), threads(), array(out))
        return out
