"""A quantised network: layers in integers, encoder, readout, profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..._base.checks import MAX_STEPS, integer
from .engine import Engine
from .host import Encoder, Readout
from .layers import Layer, Shape, Shortcut, check_layer
from .profile import Profile


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A network in integers for one profile.

    layers: in their order, each an `emulator.program.layers.Layer`. profile: of the chip. encoder: what makes spikes of the data
    on the host. readout: how outputs become a class. name: for reports.
    steps: T of the input; each layer is updated for T steps from its `start`. input_shape: (height, width, channels)
    of the first layer's sources. table: one row per layer with ranges, clipping and bounds from `quantize`; it is
    for readers, nothing is computed from it.

    Raises ValueError where the layers do not follow from one another, or stop before the input's last step, and where the
    encoder's outputs are not the first layer's input.

    Examples:
        >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
        >>> program.steps, program.input_shape, [layer.weight.dtype.name for layer in program.layers]
        (8, (1, 1, 32), ['int8'])
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
        object.__setattr__(self, "steps", integer("steps", self.steps, 1, MAX_STEPS))
        for index, (before, layer) in enumerate(zip([None, *self.layers], self.layers, strict=False)):
            check_layer(layer)
            if before is not None and (before.out_shape != layer.in_shape or not before.fires):
                raise ValueError(
                    f"layer {layer.name}: its input must be the output of a layer that fires, got {layer.in_shape} "
                    f"after {before.out_shape}"
                )
            self._check_window(layer, before, layer.delay)
            if layer.shortcut is not None:
                self._check_shortcut(layer, layer.shortcut, index)
        self._check_encoder()
        if self.total_steps > MAX_STEPS:
            raise ValueError(
                f"the program takes {self.total_steps} steps with its delays; at most {MAX_STEPS} are possible"
            )
        if self.total_steps < self.steps:
            raise ValueError(
                f"steps must be at most {self.total_steps}, the step in which the last layer stops, got {self.steps}"
            )
        last = self.layers[-1]
        if self.readout.classes is not None and last.neurons % self.readout.classes:
            raise ValueError(f"readout: classes must divide the {last.neurons} outputs, got {self.readout.classes}")
        if self.readout.kind == "temporal-weighting":
            self.readout.time_weights(last.stop - last.start)
        if (self.readout.kind == "membrane") == last.fires:
            raise ValueError(
                f"readout {self.readout.kind!r} does not fit a last layer that "
                f"{'fires' if last.fires else 'integrates'}"
            )

    def _check_encoder(self) -> None:
        weight, kind = self.encoder.weight, self.encoder.kind
        if weight is None:
            return
        if len(weight) != self.input_shape[2] or (kind == "direct-linear" and self.input_shape[:2] != (1, 1)):
            raise ValueError(
                f"encoder {kind}: its {len(weight)} outputs must be the input of layer {self.layers[0].name}, which has "
                f"(height, width, channels) {self.input_shape}"
            )

    def _check_window(self, layer: Layer, source: Layer | None, delay: int) -> None:
        first, last = (0, self.steps) if source is None else (source.start, source.stop)
        if layer.start > first + delay or layer.stop < min(last + delay, self.total_steps):
            raise ValueError(
                f"layer {layer.name}: steps {layer.start} to {layer.stop} miss events of steps {first} to {last} "
                f"that arrive {delay} later"
            )

    def _check_shortcut(self, layer: Layer, shortcut: Shortcut, index: int) -> None:
        if not -1 <= shortcut.source < index:
            raise ValueError(
                f"layer {layer.name}: the source of the shortcut must be a layer before it, or -1, got {shortcut.source}"
            )
        source = None if shortcut.source < 0 else self.layers[shortcut.source]
        shape = self.input_shape if source is None else source.out_shape
        if shape != shortcut.in_shape or (source is not None and not source.fires):
            raise ValueError(
                f"layer {layer.name}: the shortcut must be the output of a layer that fires, got {shortcut.in_shape} "
                f"from {shape}"
            )
        self._check_window(layer, source, shortcut.delay)

    def __repr__(self) -> str:
        sizes = "-".join(str(layer.neurons) for layer in self.layers)
        return f"Program({self.name!r}, profile {self.profile.name}, steps {self.steps}, neurons {sizes})"

    @property
    def total_steps(self) -> int:
        """Steps of a whole run, delays included."""
        return max(layer.stop for layer in self.layers)

    @property
    def input_shape(self) -> Shape:
        """(height, width, channels) of the sources."""
        return self.layers[0].in_shape

    @property
    def classes(self) -> int:
        """How many classes the readout tells apart."""
        return self.readout.classes or self.layers[-1].neurons

    def listeners(self, layer: int) -> set[int]:
        """Indices of the layers that take a layer's spikes, by its index, -1 for the input: the next, and by shortcuts others."""
        return {
            n
            for n, other in enumerate(self.layers)
            if n == layer + 1 or (other.shortcut is not None and other.shortcut.source == layer)
        }

    def synapse_difference(self, other: Program) -> str | None:
        """The first difference in profile or layers from another program, in words; None where one placement serves both.

        Compared are the profiles and the layers' shapes, strides, weights and shortcuts, not thresholds.
        """
        if self.profile.name != other.profile.name:
            return f"its profile is {self.profile.name}, not {other.profile.name}"
        if self.profile != other.profile:
            mine, theirs = self.profile.to_dict(), other.profile.to_dict()
            for name in mine:  # an energy table and the path of its file differ, and are the same value
                if mine[name] != theirs[name] and name != "sources":
                    return f"its profile {self.profile.name} has another value of {name}"
        if len(self.layers) != len(other.layers):
            return f"it has {len(self.layers)} layers, not {len(other.layers)}"
        for one, two in zip(self.layers, other.layers, strict=True):
            for name in ("kind", "in_shape", "out_shape", "pool", "stride", "padding"):
                if getattr(one, name) != getattr(two, name):
                    return f"its layer {one.name} has {name} {getattr(one, name)}, not {getattr(two, name)}"
            if not np.array_equal(one.weight, two.weight):
                return f"its layer {one.name} has other weights"
            if not _same_shortcut(one.shortcut, two.shortcut):
                return f"its layer {one.name} has another shortcut"
        return None

    def engine(self) -> Engine:
        """The program, loaded into the C++ core."""
        return Engine(self.layers, steps=self.steps, total_steps=self.total_steps)

    def bounds(self) -> pd.DataFrame:
        """One row per layer: whether a static bound excludes overflow of each register, and that bound, max_abs_sum."""
        rows = [
            {
                "layer": layer.name,
                **{f"{name}_overflow_free": free for name, free in layer.overflow_free().items()},
                "max_abs_sum": int(layer.max_abs_sum().max()),
            }
            for layer in self.layers
        ]
        return pd.DataFrame(rows)


def _same_shortcut(one: Shortcut | None, two: Shortcut | None) -> bool:
    if one is None or two is None:
        return one is two
    same = (one.source, one.in_shape, one.stride) == (two.source, two.in_shape, two.stride)
    return same and np.array_equal(one.weight, two.weight)
