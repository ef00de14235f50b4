"""The layers of an emulator program, in integers: geometry, weights, thresholds, registers (docs/emulator.md)."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PlainValidator, model_validator

from ..._base.checks import MAX_STEPS, MAX_WINDOW
from ..._base.records import Record

LARGEST_LEAKING_BITS = 47  # of a membrane with a leak: its product with the 16-bit factor must fit 63 bits
LARGEST_MAP = 1 << 24  # neurons of a layer; the core has the same limit

Policy = Literal["saturate", "wrap", "error"]
Update = Literal["clocked", "event"]
Fire = Literal["ge", "gt"]
Leak = Literal["scale", "shift"]


def _is_possible(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    if prod(shape) > LARGEST_MAP:
        raise ValueError(f"must have at most {LARGEST_MAP} neurons, got {shape}")
    return shape


def narrowed(values: Any) -> NDArray[np.signedinteger]:
    """The values in the narrowest of int8, int16 and int32 that holds them."""
    if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.signedinteger):
        raise ValueError(f"must hold signed integers, got {getattr(values, 'dtype', type(values).__name__)}")
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind, copy=False)
    raise ValueError(f"must fit 32 bits, got integers from {low} to {high}")


def array_of(kind: type[np.generic]) -> PlainValidator:
    """A validator of arrays of one type."""

    def check(value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype != kind:
            got = getattr(value, "dtype", type(value).__name__)
            raise ValueError(f"must be an array of {kind.__name__}, got {got}")
        return value

    return PlainValidator(check)


Size = Annotated[int, Field(ge=1, le=1 << 20)]
Shape = Annotated[tuple[Size, Size, Size], AfterValidator(_is_possible)]
Stride = Annotated[int, Field(ge=1, le=1 << 20)]
Padding = Annotated[int, Field(ge=0, le=1024)]
Step = Annotated[int, Field(ge=0, le=MAX_STEPS)]
Value = Annotated[int, Field(ge=-(1 << 61), le=1 << 61)]
Integers = Annotated[NDArray[np.signedinteger], PlainValidator(narrowed)]


class Register(Record):
    """An integer register: lowest and highest value, bits, and the overflow policy (`saturate`, `wrap` or `error`)."""

    low: Value
    high: Value
    bits: Annotated[int, Field(ge=1, le=61)]
    policy: Policy = "saturate"

    @model_validator(mode="after")
    def _holds_its_values(self) -> Self:
        if not self.low <= 0 <= self.high:
            raise ValueError(f"low: a register must hold 0, got {self.low} to {self.high}")
        if self.policy == "wrap" and self.high - self.low + 1 != 1 << self.bits:
            raise ValueError(f"policy: a register that wraps must hold all values of {self.bits} bits")
        return self

    @classmethod
    def of(cls, bits: int, values: str = "signed", policy: Policy = "saturate") -> Register:
        """A register of `bits` bits: `signed` (two's complement), `symmetric` (without the lowest value) or `unsigned`."""
        high = (1 << bits) - 1 if values == "unsigned" else (1 << (bits - 1)) - 1
        low = {"signed": -high - 1, "symmetric": -high, "unsigned": 0}[values]
        return cls(low=low, high=high, bits=bits, policy=policy)


class Shortcut(Record):
    """The input of a residual block into its last layer: one synapse per neuron (docs/emulator.md, "Shortcuts").

    source: index of the layer, -1 for the input. weight: integers [channels]; [channels, outputs] of a 1x1 convolution, which
    nets of windows have. stride: of the source's rows and columns, after its pool. window: steps of the source's window, 0
    in step-by-step nets.
    """

    source: Annotated[int, Field(ge=-1, le=1 << 20)]
    in_shape: Shape
    weight: Integers
    stride: tuple[Stride, Stride] = (1, 1)
    delay: Step = 0
    pool: Size = 1
    window: Annotated[int, Field(ge=0, le=MAX_WINDOW)] = 0

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def sites(self) -> tuple[int, int]:
        """Rows and columns that it reaches: every stride-th one of the pooled map."""
        height, width = (-(-(side // self.pool) // every) for side, every in zip(self.in_shape[:2], self.stride, strict=True))
        return height, width

    @property
    def synapses(self) -> int:
        """Number of synapses after pooling: of each site as many as there are weights."""
        return prod(self.sites) * self.weight.size


class Layer(Record):
    """One layer of a program. Shapes are (height, width, channels); see docs/emulator.md for every field.

    weight: integers, [inputs, outputs] for `linear`, [input channels, kernel height, kernel width, output channels] for
    `conv`, stored in the narrowest of int8, int16 and int32. theta, bias: int64 [output channels]. scale: float64 [output
    channels], the real value of an integer weight of 1. leak: how the membrane leaks, and the current, an integer as `keep`;
    None: the input lasts one step.
    """

    name: str
    kind: Literal["linear", "conv"]
    weight: Integers
    theta: Annotated[NDArray[np.int64], array_of(np.int64)]
    bias: Annotated[NDArray[np.int64], array_of(np.int64)]
    in_shape: Shape
    out_shape: Shape
    accumulator: Register
    membrane: Register
    pool: Size = 1
    stride: tuple[Stride, Stride] = (1, 1)
    padding: tuple[Padding, Padding] = (0, 0)
    fires: bool = True
    delay: Step = 0
    start: Step = 0
    stop: Step = MAX_STEPS
    shift: Annotated[int, Field(ge=0, le=61)] = 0
    keep: Annotated[int, Field(ge=0, le=1 << 16)] = 1
    decay_bits: Annotated[int, Field(ge=0, le=16)] = 0
    leak: Leak = "scale"
    current: Annotated[int, Field(ge=0, le=1 << 16)] | None = None
    update: Update = "clocked"
    fire: Fire = "ge"
    scale: Annotated[NDArray[np.float64], array_of(np.float64)]
    shortcut: Shortcut | None = None
    groups: Size = 1

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        (height, width, channels), outputs = self.pooled_shape, self.out_shape[2]
        if self.kind == "linear":
            shape = (height * width * channels, outputs)
            if self.weight.shape != shape or self.out_shape[:2] != (1, 1):
                raise ValueError(f"weight: must have shape {shape}, and out_shape 1 x 1, got {self.weight.shape}")
        elif channels % self.groups or outputs % self.groups:
            raise ValueError(f"groups: must divide the channels, {channels} and {outputs}, got {self.groups}")
        elif self.weight.ndim != 4 or (self.weight.shape[0], self.weight.shape[3]) != (self.fan_channels, outputs):
            raise ValueError(f"weight: must have shape [{self.fan_channels}, y, x, {outputs}], got {self.weight.shape}")
        for name, array in (("theta", self.theta), ("bias", self.bias), ("scale", self.scale)):
            if array.shape != (outputs,):
                raise ValueError(f"{name}: must have shape [{outputs}], got {array.shape}")
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ValueError("scale: must be positive and finite")
        if (beside := self.shortcut) is not None:
            width = beside.in_shape[2]
            if beside.weight.shape not in (((width,), (width, outputs)) if width <= outputs else ((width, outputs),)):
                raise ValueError(f"shortcut.weight: must have shape [{width}], at most {outputs} numbers")
            if beside.sites != self.out_shape[:2]:
                raise ValueError(f"shortcut.stride: must give as many rows and columns as {self.out_shape[:2]}")
        return self

    def __repr__(self) -> str:
        source, neurons = (" x ".join(map(str, shape)) for shape in (self.in_shape, self.out_shape))
        return f"Layer({self.name!r}, {self.kind}, {source} to {neurons}, {self.weight.dtype} weights, {self.update})"

    __str__ = __repr__

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return prod(self.out_shape)

    @property
    def reached(self) -> NDArray[np.int64]:
        """The smallest membrane at which each channel fires."""
        return self.theta + (self.fire == "gt")

    @property
    def pooled_shape(self) -> tuple[int, int, int]:
        """The source's map after pooling."""
        return self.in_shape[0] // self.pool, self.in_shape[1] // self.pool, self.in_shape[2]

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns of the kernel, (1, 1) of a linear layer."""
        return (self.weight.shape[1], self.weight.shape[2]) if self.kind == "conv" else (1, 1)

    @property
    def fan_channels(self) -> int:
        """Input channels that an output channel has synapses from."""
        return self.in_shape[2] // self.groups

    def sources_per_site(self) -> NDArray[np.int64]:
        """Number of pooled input sites (times kernel taps) that reach each output site, int64 [height, width]."""
        height, width, _ = self.pooled_shape
        if self.kind == "linear":
            return np.full((1, 1), height * width, dtype=np.int64)
        sizes = zip((height, width), self.out_shape[:2], self.kernel, self.stride, self.padding, strict=True)
        return np.outer(*(_taps(*size) for size in sizes))

    @property
    def synapses(self) -> int:
        """Weights of an unrolled table, one per pair of a pooled source and a neuron, and the shortcut's weights."""
        unrolled = int(self.sources_per_site().sum()) * self.fan_channels * self.out_shape[2]
        return unrolled + (0 if self.shortcut is None else self.shortcut.synapses)

    @property
    def fan_in(self) -> int:
        """The most synapses that a neuron has: pairs with a source before pooling, and the shortcut's."""
        side = self.shortcut
        beside = 0 if side is None else side.weight.size // side.weight.shape[-1] * side.pool**2
        return int(self.sources_per_site().max()) * self.fan_channels * self.pool**2 + beside

    @property
    def stored_weights(self) -> int:
        """Number of integers in the weights of the layer and of its shortcut."""
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
        steps = self.stop - self.start
        reached = (1 if self.current is None else steps) * largest + steps * int(np.abs(self.bias).max())
        sums = {"accumulator": 0 if self.update == "event" else largest, "membrane": reached}
        room = {"accumulator": self.accumulator, "membrane": self.membrane}
        free = {name: sums[name] <= min(-r.low, r.high) for name, r in room.items()}
        if self.update != "event" and self.accumulator.policy == "wrap" and self.accumulator.low == 0:
            free["membrane"] &= free["accumulator"]  # a small negative sum wraps to a large one
        return free


def _taps(size: int, out: int, kernel: int, stride: int, pad: int) -> NDArray[np.int64]:
    """Along one axis, how many taps of each output's kernel lie on the map."""
    begin = np.arange(out, dtype=np.int64) * stride - pad
    taps: NDArray[np.int64] = (np.minimum(begin + kernel, size) - np.maximum(begin, 0)).clip(min=0)
    return taps
