"""A quantised network, ready to run: layers in integers, encoder, readout, profile; and its open file format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .engine import Engine
from .host import Encoder, Readout
from .layers import MAX_STEPS, Layer, Shape, check_layer
from .profile import Profile

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Program:
    """A network in integers for one profile.

    steps: T of the input; each layer is updated for T steps from its `start`. input_shape: (height, width, channels)
    of the first layer's sources. table: one row a layer with ranges, clipping and bounds from `quantize`, for people
    to read.
    """

    layers: list[Layer]
    steps: int
    profile: Profile
    encoder: Encoder = field(default_factory=lambda: Encoder("spikes"))
    readout: Readout = field(default_factory=lambda: Readout("first-spike"))
    name: str = "network"
    table: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers must hold at least one layer")
        if not 1 <= self.steps <= MAX_STEPS:
            raise ValueError(f"steps must be from 1 to {MAX_STEPS}, got {self.steps}")
        for before, layer in zip([None, *self.layers], self.layers, strict=False):
            check_layer(layer)
            if before is not None and (before.out_shape != layer.in_shape or not before.fires):
                raise ValueError(
                    f"layer {layer.name}: its input must be the output of a layer that fires, got {layer.in_shape} "
                    f"after {before.out_shape}"
                )
            first, last = (0, self.steps) if before is None else (before.start, before.stop)
            if layer.start > first + layer.delay or layer.stop < min(last + layer.delay, self.total_steps):
                raise ValueError(
                    f"layer {layer.name}: steps {layer.start} to {layer.stop} miss events of steps {first} to {last} "
                    f"that arrive {layer.delay} later"
                )
        if self.total_steps > MAX_STEPS:
            raise ValueError(
                f"the program needs {self.total_steps} steps with its delays, at most {MAX_STEPS} are possible"
            )
        if (self.readout.kind == "membrane") == self.layers[-1].fires:
            raise ValueError(
                f"readout {self.readout.kind!r} does not fit a last layer that "
                f"{'fires' if self.layers[-1].fires else 'integrates'}"
            )

    @property
    def total_steps(self) -> int:
        """Steps of a whole run, delays included."""
        return max(layer.stop for layer in self.layers)

    @property
    def input_shape(self) -> Shape:
        """(height, width, channels) of the sources."""
        return self.layers[0].in_shape

    def engine(self) -> Engine:
        """The program loaded into the C++ core."""
        return Engine(self.layers, steps=self.steps, total_steps=self.total_steps)

    def bounds(self) -> pd.DataFrame:
        """For each layer and register, whether no input can make it overflow (static bound: the sum of |W|)."""
        rows = [
            {
                "layer": layer.name,
                **{f"{name} cannot overflow": safe for name, safe in layer.overflow_impossible().items()},
                "sum |W|": int(layer.reach().max()),
            }
            for layer in self.layers
        ]
        return pd.DataFrame(rows)

    def replace_registers(self, policy: str) -> Program:
        """The same program with one overflow policy for all registers; ValueError where a range cannot wrap."""
        layers = [
            replace(
                layer,
                accumulator=replace(layer.accumulator, policy=policy),
                membrane=replace(layer.membrane, policy=policy),
            )
            for layer in self.layers
        ]
        return replace(self, layers=layers)


def narrow(values: NDArray[np.integer]) -> NDArray[np.signedinteger]:
    """The values in the narrowest of int8, int16 and int32; OverflowError beyond."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    raise OverflowError(f"weights from {low} to {high} do not fit 32 bits")
