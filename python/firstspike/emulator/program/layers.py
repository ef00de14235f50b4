"""The layers of an emulator program, in integers: geometry, weights, thresholds, registers (docs/emulator.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..._base.checks import MAX_STEPS, one_of

POLICIES = ("saturate", "wrap", "error")
KINDS = ("linear", "conv")
UPDATES = ("clocked", "event")
FIRE = ("ge", "gt")

LARGEST_LEAKING_BITS = 47  # of a membrane with a leak: its product with the 16-bit factor must fit 63 bits

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Register:
    """An integer register: lowest and highest value, bits, and the overflow policy (`saturate`, `wrap` or `error`)."""

    low: int
    high: int
    bits: int
    policy: str = "saturate"

    def __post_init__(self) -> None:
        one_of("policy", self.policy, POLICIES)
        _check_bits(self.bits)
        if not self.low <= 0 <= self.high:
            raise ValueError(f"a register must hold 0, got {self.low} to {self.high}")
        if self.policy == "wrap" and self.high - self.low + 1 != 1 << self.bits:
            raise ValueError(
                f"a register that wraps must hold all values of {self.bits} bits, got {self.low} to {self.high}"
            )

    @classmethod
    def of(cls, bits: int, values: str = "signed", policy: str = "saturate") -> Register:
        """A register of `bits` bits: `signed` (two's complement), `symmetric` (without the lowest value) or `unsigned`."""
        _check_bits(bits)
        high = (1 << bits) - 1 if values == "unsigned" else (1 << (bits - 1)) - 1
        lows = {"signed": -high - 1, "symmetric": -high, "unsigned": 0}
        one_of("values", values, lows)
        return cls(lows[values], high, bits, policy)


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 61:
        raise ValueError(f"bits must be from 1 to 61, got {bits}")


@dataclass(frozen=True, eq=False)
class Shortcut:
    """The input of a residual block into its last layer: one synapse per neuron (docs/emulator.md, "Shortcuts").

    source: index of the layer whose spikes it takes, -1 for the program's input. in_shape: (height, width, channels) of that
    source. weight: integers [channels]. stride: of every how many rows and columns of the source the spikes count. delay:
    steps until they arrive.
    """

    source: int
    in_shape: Shape
    weight: NDArray[np.signedinteger]
    stride: tuple[int, int] = (1, 1)
    delay: int = 0

    @property
    def synapses(self) -> int:
        """Number of synapses: of every stride-th row and column, one per channel."""
        height, width, channels = self.in_shape
        return -(-height // self.stride[0]) * -(-width // self.stride[1]) * channels


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """One layer of a program. Shapes are (height, width, channels); see docs/emulator.md for every field.

    weight: integers, [inputs, outputs] for `linear`, [input channels, kernel height, kernel width, output channels] for
    `conv`. A layer keeps its weights, and those of its shortcut, in the narrowest of int8, int16 and int32 that holds them;
    TypeError for no signed integers, ValueError for more than 32 bits. theta, bias: int64 [output channels]. scale: float64
    [output channels], the real value of an integer weight of 1.
    """

    name: str
    kind: str
    weight: NDArray[np.signedinteger]
    theta: NDArray[np.int64]
    bias: NDArray[np.int64]
    in_shape: Shape
    out_shape: Shape
    accumulator: Register
    membrane: Register
    pool: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    fires: bool = True
    delay: int = 0
    start: int = 0
    stop: int = MAX_STEPS
    shift: int = 0
    keep: int = 1
    decay_bits: int = 0
    update: str = "clocked"
    fire: str = "ge"
    scale: NDArray[np.float64] = field(default_factory=lambda: np.ones(1))
    shortcut: Shortcut | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _narrow(f"layer {self.name}: weight", self.weight))
        if self.shortcut is not None:
            weight = _narrow(f"layer {self.name}: weight of the shortcut", self.shortcut.weight)
            object.__setattr__(self, "shortcut", replace(self.shortcut, weight=weight))

    def __repr__(self) -> str:
        source, neurons = (" x ".join(map(str, shape)) for shape in (self.in_shape, self.out_shape))
        return f"Layer({self.name!r}, {self.kind}, {source} to {neurons}, {self.weight.dtype} weights, {self.update})"

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.out_shape))

    @property
    def pooled_shape(self) -> Shape:
        """The source's map after pooling."""
        return self.in_shape[0] // self.pool, self.in_shape[1] // self.pool, self.in_shape[2]

    def sources_per_site(self) -> NDArray[np.int64]:
        """Number of pooled input sites (times kernel taps) that reach each output site, int64 [height, width]."""
        height, width, _ = self.pooled_shape
        if self.kind == "linear":
            return np.full((1, 1), height * width, dtype=np.int64)
        vertical, horizontal = (
            _taps(size, out, kernel, stride, pad)
            for size, out, kernel, stride, pad in zip(
                (height, width), self.out_shape[:2], self.weight.shape[1:3], self.stride, self.padding, strict=True
            )
        )
        return np.outer(vertical, horizontal)

    @property
    def synapses(self) -> int:
        """Weights of an unrolled table: one per pair of a pooled source and a neuron, and those of the shortcut.

        The pool x pool sources of a pooled one share a weight, so that there are as many times more pairs of a source and a
        neuron, which `delivered` counts.
        """
        own = int(self.sources_per_site().sum()) * self.in_shape[2] * self.out_shape[2]
        return own + (0 if self.shortcut is None else self.shortcut.synapses)

    @property
    def fan_in(self) -> int:
        """The most synapses that a neuron has: pairs with a source before pooling, and that of the shortcut."""
        own = int(self.sources_per_site().max()) * self.in_shape[2] * self.pool**2
        return own + (0 if self.shortcut is None else 1)

    @property
    def stored_weights(self) -> int:
        """Integers that the layer's weights are: those of `weight` and of the shortcut."""
        return self.weight.size + (0 if self.shortcut is None else self.shortcut.weight.size)

    def max_abs_sum(self) -> NDArray[np.int64]:
        """Largest absolute sum of any events, per output channel, int64: (sum |W| pool^2 + |shortcut|) 2^shift."""
        weights = np.abs(self.weight.astype(np.int64)).reshape(-1, self.weight.shape[-1])
        largest: NDArray[np.int64] = weights.sum(0) * self.pool**2
        if self.shortcut is not None:
            largest[: len(self.shortcut.weight)] += np.abs(self.shortcut.weight.astype(np.int64))
        return largest << self.shift

    def overflow_free(self) -> dict[str, bool]:
        """Per register, whether a static bound excludes overflow for every input; False where the bound does not."""
        largest = int(self.max_abs_sum().max())
        biases = (self.stop - self.start) * int(np.abs(self.bias).max())
        room = {"accumulator": self.accumulator, "membrane": self.membrane}
        sums = {"accumulator": 0 if self.update == "event" else largest, "membrane": largest + biases}
        free = {name: sums[name] <= min(-r.low, r.high) for name, r in room.items()}
        if self.update != "event" and self.accumulator.policy == "wrap" and self.accumulator.low == 0:
            free["membrane"] &= free["accumulator"]  # a small negative sum wraps to a large one
        return free


def _narrow(name: str, values: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
    """The values in the narrowest of int8, int16 and int32; TypeError for no signed integers, ValueError beyond 32 bits."""
    if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.signedinteger):
        raise TypeError(f"{name} must hold signed integers, got {getattr(values, 'dtype', type(values).__name__)}")
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind, copy=False)
    raise ValueError(f"{name} must fit 32 bits, got integers from {low} to {high}")


def _taps(size: int, out: int, kernel: int, stride: int, pad: int) -> NDArray[np.int64]:
    at = np.arange(out)[:, None] * stride - pad + np.arange(kernel)
    taps: NDArray[np.int64] = ((at >= 0) & (at < size)).sum(1)
    return taps


def check_layer(layer: Layer) -> None:
    """Raise ValueError or TypeError where a layer contradicts itself."""

    def refuse(text: str) -> None:
        raise ValueError(f"layer {layer.name}: {text}")

    for name, value, known in (
        ("kind", layer.kind, KINDS),
        ("update", layer.update, UPDATES),
        ("fire", layer.fire, FIRE),
    ):
        one_of(f"layer {layer.name}: {name}", value, known)
    if layer.pool < 1 or min(layer.in_shape) < 1 or min(layer.out_shape) < 1:
        refuse(f"sizes must be at least 1, got {layer.in_shape}, {layer.out_shape}, pool {layer.pool}")
    height, width, channels = layer.pooled_shape
    if layer.kind == "linear":
        wanted: tuple[int, ...] = (height * width * channels, layer.out_shape[2])
        if layer.weight.shape != wanted or layer.out_shape[:2] != (1, 1):
            refuse(
                f"weight must have shape {wanted} and the output (1, 1, channels), "
                f"got {layer.weight.shape}, {layer.out_shape}"
            )
    elif layer.weight.ndim != 4 or layer.weight.shape[0] != channels or layer.weight.shape[3] != layer.out_shape[2]:
        refuse(f"weight must have shape [{channels}, kernel, kernel, {layer.out_shape[2]}], got {layer.weight.shape}")
    for name, array in (("theta", layer.theta), ("bias", layer.bias)):
        if array.dtype != np.int64 or array.shape != (layer.out_shape[2],):
            refuse(f"{name} must be int64 [{layer.out_shape[2]}], got {array.dtype} {array.shape}")
    if layer.scale.dtype != np.float64 or layer.scale.shape != (layer.out_shape[2],):
        refuse(f"scale must be float64 [{layer.out_shape[2]}], got {layer.scale.dtype} {layer.scale.shape}")
    if not (np.isfinite(layer.scale).all() and (layer.scale > 0).all()):
        refuse("scale must be positive and finite")
    if layer.shortcut is not None:
        _check_shortcut(layer, layer.shortcut)


def _check_shortcut(layer: Layer, shortcut: Shortcut) -> None:
    def refuse(text: str) -> None:
        raise ValueError(f"layer {layer.name}: {text}")

    height, width, channels = shortcut.in_shape
    if min(shortcut.in_shape) < 1 or min(shortcut.stride) < 1:
        refuse(f"sizes of the shortcut must be at least 1, got {shortcut.in_shape}, stride {shortcut.stride}")
    if shortcut.weight.shape != (channels,) or channels > layer.out_shape[2]:
        refuse(
            f"weight of the shortcut must have one number per channel of its source, {channels}, at most "
            f"{layer.out_shape[2]}, got {shortcut.weight.shape}"
        )
    if (-(-height // shortcut.stride[0]), -(-width // shortcut.stride[1])) != layer.out_shape[:2]:
        refuse(
            f"the shortcut must have as many rows and columns as the output, {layer.out_shape[:2]}, got every "
            f"{shortcut.stride}-th of {shortcut.in_shape[:2]}"
        )
