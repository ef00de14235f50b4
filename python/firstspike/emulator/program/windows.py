"""Programs of nets of windows: layers that integrate in their input's window and fire in their own (docs/emulator.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..._base import _emulator
from ..._base.checks import MAX_WINDOW
from .layers import Layer, array_of
from .program import LARGEST_DEPTH, Engine, Program, Raw, geometry_of, register_of

Moment = Annotated[int, Field(ge=0, le=1 << 24)]


class WindowLayer(Layer):
    """One layer of a net of windows. It fires in steps start <= t < stop of the run; a readout has none, start = stop.

    window: steps of its input's window. rise: int64 [output channels], of the membrane in each step of the layer's window. bias:
    the membrane at the start of the run. pools: True for a max pool, which fires within the window of its input.
    """

    window: Annotated[int, Field(ge=1, le=MAX_WINDOW)]
    rise: Annotated[NDArray[np.int64], array_of(np.int64)]
    pools: bool = False
    start: Moment = 0
    stop: Moment = 0

    @model_validator(mode="after")
    def _has_windows(self) -> Self:
        if self.rise.shape != self.theta.shape:
            raise ValueError(f"rise: must have shape {self.theta.shape}, got {self.rise.shape}")
        if self.update == "event" or self.decay_bits or self.leak == "shift" or self.current is not None:
            raise ValueError("update: a layer of windows is clocked and has no leak")
        if not self.start <= self.stop <= self.start + MAX_WINDOW or (self.stop > self.start) != self.fires:
            raise ValueError(f"stop: must be 1 to {MAX_WINDOW} steps after start, or start if it never fires")
        if self.shortcut is not None and not self.shortcut.window:
            raise ValueError("shortcut.window: must be the steps of its source's window")
        if self.pools and (self.shortcut is not None or (self.theta + (self.fire == "gt") <= self.bias).any()):
            raise ValueError("pools: a max pool has no shortcut, and does not fire without a spike")
        return self

    @property
    def steps(self) -> int:
        """Steps of the layer's window, 0 for a readout."""
        return self.stop - self.start

    def ranges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What spikes of any times can make of current and membrane, each (lowest, highest), int64 [2, channels]."""
        tables = [(self.weight, self.pool, self.window)]
        if (side := self.shortcut) is not None:
            diagonal = side.weight if side.weight.ndim == 2 else np.diag(side.weight)
            tables.append((diagonal, side.pool, side.window))
        current, membrane = (np.zeros((2, self.out_shape[2]), np.int64) for _ in range(2))
        for weight, pool, window in tables:
            flat = weight.astype(np.int64).reshape(-1, weight.shape[-1])
            sums = np.stack([flat.clip(max=0).sum(0), flat.clip(min=0).sum(0)]) * (pool**2 << self.shift)
            current += sums
            membrane += sums * (1 if self.pools else window)
        membrane += self.bias
        if self.fires and not self.pools:
            current[1] = np.maximum(current[1], self.rise)
            membrane[1] = np.maximum(membrane[1], self.reached - 1) + self.rise
        return current, membrane

    def overflow_free(self) -> dict[str, bool]:
        """Per register, whether its static bound excludes overflow for every input."""
        pairs = zip(("accumulator", "membrane"), (self.accumulator, self.membrane), self.ranges(), strict=True)
        return {name: bool(values.min() >= r.low and values.max() <= r.high) for name, r, values in pairs}


class WindowProgram(Program):
    """A net of windows in integers for one profile, see `Program`. steps: of the input's window."""

    layers: Annotated[tuple[WindowLayer, ...], Field(min_length=1, max_length=LARGEST_DEPTH)]
    steps: Annotated[int, Field(ge=1, le=MAX_WINDOW)]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._check_chain()
        for index, layer in enumerate(self.layers):
            begin, end = self._window(index - 1)
            side = layer.shortcut
            wanted = begin if layer.pools else end
            if layer.window != end - begin or layer.start != wanted + layer.delay:
                raise ValueError(f"layers: {layer.name} must have the window of its input, steps {begin} to {end}")
            if layer.pools and layer.steps != layer.window:
                raise ValueError(f"layers: {layer.name}, a max pool, must fire within the window of its input")
            if side is not None and side.window != int(np.diff(self._window(side.source))[0]):
                raise ValueError(f"layers: the shortcut of {layer.name} must have the window of its source")
        if self.readout.kind != "membrane" or self.readout.mode != "last" or self.layers[-1].fires:
            raise ValueError("readout: must be the last membrane of a layer that never fires")
        self._check_host()
        return self

    def _window(self, layer: int) -> tuple[int, int]:
        """First step of a layer's window and the step after it, by its index, -1 for the input."""
        return (0, self.steps) if layer < 0 else (self.layers[layer].start, self.layers[layer].stop)

    @property
    def latency(self) -> int:
        """Steps of all windows of layers that fire, as `models.TTFSNet` counts them: without input and delays."""
        return sum(layer.steps for layer in self.layers if not layer.pools)

    def engine(self) -> WindowEngine:
        """The program, loaded into the C++ core."""
        return WindowEngine(self)

    def updated_steps(self, steps_run: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps in which each layer's neurons are updated, int64 [1, L]: the windows of its sources, and its own."""
        counts = []
        for index, layer in enumerate(self.layers):
            side = layer.shortcut
            before = 0 if side is None or side.source == index - 1 else side.window
            counts.append(before + layer.window + (0 if layer.pools else layer.steps))
        return np.array([counts], np.int64)


class WindowEngine(Engine):
    """Layers of windows, loaded into the C++ core. Raises ValueError for layers that it cannot hold exactly."""

    def __init__(self, program: WindowProgram) -> None:
        self.layers, self._steps = program.layers, program.total_steps
        self._windows = _emulator.WindowNetwork(program.steps)
        for index, layer in enumerate(program.layers):
            self._windows.add(layer.name, _description(layer, index))

    def _run(self, times: NDArray[np.uint8], threads: int, early_exit: bool, all_times: bool, trace: bool) -> Raw:
        """Times are steps of each layer's own window; without `trace` the last layer's membrane is [B, 1, N], at the end."""
        made = self._windows.run(times, threads, trace)
        membrane: list[NDArray[np.int64] | None] = list(made["membrane"]) if trace else [None] * len(self.layers)
        if not trace:
            membrane[-1] = made["last"][:, None]
        steps = np.full(len(times), self._steps, np.int32)
        return Raw(made["counters"], steps, list(made["times"]), membrane, None)


def _description(layer: WindowLayer, index: int) -> dict[str, Any]:
    """A layer as the core takes it; its inputs in the order of their sources."""
    return {
        "strict": layer.fire == "gt",
        **dict(zip(("out_h", "out_w", "out_c"), layer.out_shape, strict=True)),
        **{name: getattr(layer, name) for name in ("shift", "steps", "pools")},
        "accumulator": register_of(layer.accumulator),
        "membrane": register_of(layer.membrane),
        **{name: np.ascontiguousarray(getattr(layer, name)) for name in ("theta", "bias", "rise")},
        "inputs": list(_inputs(layer, index)),
    }


def _inputs(layer: WindowLayer, index: int) -> Iterator[dict[str, Any]]:
    if (side := layer.shortcut) is not None:  # as a convolution of one pixel
        diagonal = side.weight.ndim == 1
        taps = {"conv": True, "kernel_h": 1, "kernel_w": 1, "pad_h": 0, "pad_w": 0, "pool": side.pool}
        yield (
            geometry_of(layer)
            | taps
            | {
                **dict(zip(("in_h", "in_w", "in_c"), side.in_shape, strict=True)),
                **dict(zip(("stride_h", "stride_w"), side.stride, strict=True)),
                "source": side.source,
                "groups": len(side.weight) if diagonal else 1,
                "weights": np.ascontiguousarray(side.weight, np.int32).ravel(),
            }
        )
    weight = layer.weight
    if layer.groups > 1:  # [channels of a group, y, x, outputs] to [channels, y, x, outputs of a group]
        grouped = weight.reshape(*weight.shape[:3], layer.groups, -1)
        weight = grouped.transpose(3, 0, 1, 2, 4)
    yield geometry_of(layer) | {
        "source": index - 1,
        "groups": layer.groups,
        "weights": np.ascontiguousarray(weight, np.int32).ravel(),
    }
