"""The bridge to the C++ core: layers in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._base import _emulator
from ..._base.provenance import cores
from .layers import Layer, Register, Shortcut, check_layer

COUNTERS: tuple[str, ...] = _emulator.COUNTERS


def instruction_set() -> str:
    """The instruction set that the core uses on this processor: "v4", "v3" (x86-64 levels) or "generic".

    Examples:
        >>> emulator.instruction_set() in ("v4", "v3", "generic")
        True
    """
    return _emulator.instruction_set()


class OverflowRefused(ValueError):
    """A register with policy `error` overflowed.

    Examples:
        >>> narrow = emulator.profile.load("generic8").replace(membrane_bits=8, membrane_overflow="error")
        >>> program = emulator.quantize(models.mlp("64-300-10", steps=8), narrow)
        >>> emulator.run(program, torch.ones(4, 64))
        Traceback (most recent call last):
            ...
        firstspike.emulator.program.engine.OverflowRefused: ...
    """


@dataclass(frozen=True, eq=False)
class Raw:
    """What the core computed. B samples, L layers, T total steps, N neurons of a layer.

    counters: int64 [B, L, 7] in the order of COUNTERS. steps_run: int32 [B]. times: a layer's uint8 [B, N], 255 =
    silent, in global steps; None where not asked for. membrane: a layer's int64 [B, T, N], or None. overshoot: int64
    [B, N] of a last layer that fires: V - theta, at least 0 where it fired.
    """

    counters: NDArray[np.int64]
    steps_run: NDArray[np.int32]
    times: list[NDArray[np.uint8] | None]
    membrane: list[NDArray[np.int64] | None]
    overshoot: NDArray[np.int64] | None


class Engine:
    """Layers loaded into the C++ core. Raises ValueError for layers that it cannot hold exactly."""

    def __init__(self, layers: list[Layer], *, steps: int, total_steps: int) -> None:
        if not layers:
            raise ValueError("layers must hold at least one layer")
        self.layers, self.total_steps = layers, total_steps
        self._network = _emulator.Network(steps, total_steps)
        for layer in layers:
            check_layer(layer)
            self._network.add(layer.name, _describe(layer))

    @property
    def widths(self) -> list[tuple[int, int]]:
        """(weight bits, state bits) that the core uses for each layer: the narrowest that are exact."""
        return self._network.widths()

    def run(
        self,
        times: NDArray[np.uint8],
        *,
        threads: int | None = None,
        early_exit: bool = False,
        all_times: bool = False,
        trace: bool = False,
        first: int = 0,
    ) -> Raw:
        """Run samples: times uint8 [B, sources], 255 = silent, sources numbered row, column, channel.

        threads: default the number of usable cores; the results are the same for any. early_exit: stop a sample after
        the step of its first output spike. all_times, trace: also return every layer's times, every layer's membrane
        in each step. first: the number of the first sample, where these are a part of more. Raises OverflowRefused where a
        register with policy `error` overflows, naming the first such sample and its first layer.
        """
        workers = cores() if threads is None else threads
        raw = Raw(**self._network.run(np.ascontiguousarray(times), workers, early_exit, all_times, trace))
        self._refuse_overflow(raw.counters, first)
        return raw

    def _refuse_overflow(self, counters: NDArray[np.int64], first: int) -> None:
        names = [
            (n, register)
            for n, layer in enumerate(self.layers)
            for register in ("accumulator", "membrane")
            if getattr(layer, register).policy == "error"
        ]
        worst: tuple[int, int, str] | None = None
        for n, register in names:
            samples = np.flatnonzero(counters[:, n, COUNTERS.index(f"{register}_overflows")])
            if samples.size and (worst is None or (int(samples[0]), n) < worst[:2]):
                worst = int(samples[0]), n, register
        if worst:
            sample, n, register = worst
            count = counters[sample, n, COUNTERS.index(f"{register}_overflows")]
            held = getattr(self.layers[n], register)
            raise OverflowRefused(
                f"layer {self.layers[n].name}: the {register} ({held.bits} bits, {held.low} to {held.high}) overflowed "
                f"{count} times in sample {first + sample}, and its policy is error"
            )


def _describe(layer: Layer) -> dict[str, Any]:
    conv = layer.kind == "conv"
    in_h, in_w, in_c = layer.in_shape
    out_h, out_w, out_c = layer.out_shape
    kernel_h, kernel_w = layer.weight.shape[1:3] if conv else (1, 1)
    return {
        "conv": conv,
        "fires": layer.fires,
        "by_event": layer.update == "event",
        "strict": layer.fire == "gt",
        "in_h": in_h,
        "in_w": in_w,
        "in_c": in_c,
        "pool": layer.pool,
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "stride_h": layer.stride[0],
        "stride_w": layer.stride[1],
        "pad_h": layer.padding[0],
        "pad_w": layer.padding[1],
        "out_h": out_h,
        "out_w": out_w,
        "out_c": out_c,
        "delay": layer.delay,
        "start": layer.start,
        "stop": layer.stop,
        "shift": layer.shift,
        "keep": layer.keep,
        "decay_bits": layer.decay_bits,
        "accumulator": _register(layer.accumulator),
        "membrane": _register(layer.membrane),
        "weights": np.ascontiguousarray(layer.weight, np.int32).ravel(),
        "theta": np.ascontiguousarray(layer.theta),
        "bias": np.ascontiguousarray(layer.bias),
        "shortcut": None if layer.shortcut is None else _describe_shortcut(layer.shortcut),
    }


def _describe_shortcut(shortcut: Shortcut) -> dict[str, Any]:
    height, width, channels = shortcut.in_shape
    return {
        "source": shortcut.source,
        "in_h": height,
        "in_w": width,
        "in_c": channels,
        "stride_h": shortcut.stride[0],
        "stride_w": shortcut.stride[1],
        "delay": shortcut.delay,
        "weights": np.ascontiguousarray(shortcut.weight, np.int32),
    }


def _register(r: Register) -> dict[str, Any]:
    return {"low": r.low, "high": r.high, "bits": r.bits, "wrap": r.policy == "wrap"}
