"""The layers of an emulator program, in integers: synapses, a neuron, registers (docs/emulator.md)."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PlainValidator, model_validator

from ..._base.checks import MAX_STEPS, MAX_WINDOW
from ..._base.geometry import out_size
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
Moment = Annotated[int, Field(ge=0, le=1 << 24)]  # a step of a run of windows
Value = Annotated[int, Field(ge=-(1 << 61), le=1 << 61)]
Integers = Annotated[NDArray[np.signedinteger], PlainValidator(narrowed)]
PerChannel = Annotated[NDArray[np.int64], array_of(np.int64)]
Bounds = NDArray[np.int64]  # [2, channels]: lowest and highest value


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


class Synapses(Record):
    """The synapses of a layer from one source; shapes are (height, width, channels).

    source: index of a layer, -1 for the program's input. weight: integers, [inputs, outputs] for `linear`, [input channels of
    a group, kernel height, kernel width, output channels] for `conv`, and [channels] for `diagonal`: channel c reaches channel
    c at every `stride`-th place. pool: of the source's map, before all else. delay: steps until an event arrives. window: steps
    of the source's window, 0 in step-by-step nets.
    """

    source: Annotated[int, Field(ge=-1, le=1 << 20)] = -1
    kind: Literal["linear", "conv", "diagonal"] = "linear"
    weight: Integers
    in_shape: Shape
    pool: Size = 1
    stride: tuple[Stride, Stride] = (1, 1)
    padding: tuple[Padding, Padding] = (0, 0)
    groups: Size = 1
    delay: Step = 0
    window: Annotated[int, Field(ge=0, le=MAX_WINDOW)] = 0

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def outputs(self) -> int:
        """Number of channels that the synapses reach."""
        return int(self.weight.shape[-1])

    @property
    def pooled_shape(self) -> tuple[int, int, int]:
        """The source's map after pooling."""
        return self.in_shape[0] // self.pool, self.in_shape[1] // self.pool, self.in_shape[2]

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns of the kernel, (1, 1) without a convolution."""
        return (self.weight.shape[1], self.weight.shape[2]) if self.kind == "conv" else (1, 1)

    @property
    def reads(self) -> tuple[int, int]:
        """Rows and columns of the pooled map that a place of the layer reads: the kernel's, or all."""
        return self.pooled_shape[:2] if self.kind == "linear" else self.kernel

    @property
    def fan_channels(self) -> int:
        """Input channels that an output channel has synapses from."""
        return 1 if self.kind == "diagonal" else self.in_shape[2] // self.groups

    def sources_per_site(self) -> NDArray[np.int64]:
        """Number of pooled input sites (times kernel taps) that reach each output site, int64 [height, width]."""
        height, width, _ = self.pooled_shape
        if self.kind == "linear":
            return np.full((1, 1), height * width, dtype=np.int64)
        sizes = zip((height, width), self.kernel, self.stride, self.padding, strict=True)
        return np.outer(*(_taps(*size) for size in sizes))

    @property
    def synapses(self) -> int:
        """Weights of an unrolled table, one per pair of a pooled source and a neuron."""
        return int(self.sources_per_site().sum()) * self.fan_channels * self.outputs

    @property
    def fan_in(self) -> int:
        """The most synapses that a neuron has: pairs with a source before pooling."""
        return int(self.sources_per_site().max()) * self.fan_channels * self.pool**2

    def dense(self) -> NDArray[np.signedinteger]:
        """Weights of all pairs of channels, [rows, columns, input channels, outputs]: zeros between the groups."""
        if self.kind == "linear":
            return self.weight.reshape(*self.reads, self.in_shape[2], self.outputs)
        groups = self.outputs if self.kind == "diagonal" else self.groups
        weight = self.weight.reshape(-1, *self.kernel, self.outputs).transpose(1, 2, 0, 3)
        table = np.zeros((*self.kernel, groups, self.in_shape[2] // groups, groups, self.outputs // groups), weight.dtype)
        for group, each in enumerate(np.split(weight, groups, 3)):
            table[:, :, group, :, group] = each
        return table.reshape(*self.kernel, self.in_shape[2], self.outputs)

    def sums(self) -> Bounds:
        """Sums of all negative and of all positive weights of each output channel, each for every pooled source."""
        weights = self.weight.astype(np.int64).reshape(-1, self.outputs)
        return np.stack([weights.clip(max=0).sum(0), weights.clip(min=0).sum(0)]) * self.pool**2


class _Neuron(Record):
    """What the neurons of a layer compute; arrays are int64 [output channels].

    theta, fire: they fire at V >= theta (`ge`) or V > theta (`gt`), in steps start <= t < stop of the run.
    """

    timing: ClassVar[Literal["step", "windowed"]] = "step"

    theta: PerChannel
    fire: Fire = "ge"

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def reached(self) -> NDArray[np.int64]:
        """The smallest membrane at which each channel fires."""
        return self.theta + (self.fire == "gt")


class StepNeuron(_Neuron):
    """In each step start <= t < stop: V = leak(V) + A + bias, where A is the sum of the weights of the step's events.

    fires: once, where V passes theta; a readout does not. leak(V) = V keep / 2^decay_bits, or V - V / 2^keep for `shift`.
    current: None where the input lasts one step; else A enters a current, which leaks so, with `current` in the place of keep.
    """

    kind: Literal["step"] = "step"
    bias: PerChannel
    fires: bool = True
    start: Step = 0
    stop: Step = MAX_STEPS
    keep: Annotated[int, Field(ge=0, le=1 << 16)] = 1
    decay_bits: Annotated[int, Field(ge=0, le=16)] = 0
    leak: Leak = "scale"
    current: Annotated[int, Field(ge=0, le=1 << 16)] | None = None
    update: Update = "clocked"

    def ranges(self, sums: list[Bounds], windows: list[int]) -> tuple[Bounds, Bounds]:
        """See `Layer.ranges`."""
        low, high = np.sum(sums, 0)
        largest, steps = int((high - low).max()), self.stop - self.start
        membrane = (1 if self.current is None else steps) * largest + steps * int(np.abs(self.bias).max())
        ends = np.array([[-1], [1]], np.int64)
        return ends * (0 if self.update == "event" else largest), ends * membrane


class WindowedNeuron(_Neuron):
    """V = bias; in each step of a source's window I = I + A, V = V + I; in each step start <= t < stop V = V + rise.

    It fires at most once, where V passes theta in its own window. A readout has none, start = stop.
    """

    timing = "windowed"

    kind: Literal["windowed"] = "windowed"
    bias: PerChannel
    rise: PerChannel
    start: Moment
    stop: Moment

    @property
    def fires(self) -> bool:
        """False for a readout."""
        return self.stop > self.start

    def ranges(self, sums: list[Bounds], windows: list[int]) -> tuple[Bounds, Bounds]:
        """See `Layer.ranges`."""
        current: Bounds = np.sum(sums, 0)
        membrane: Bounds = np.sum([each * window for each, window in zip(sums, windows, strict=True)], 0) + self.bias
        if self.fires:
            current[1] = np.maximum(current[1], self.rise)
            membrane[1] = np.maximum(membrane[1], self.reached - 1) + self.rise
        return current, membrane


class PoolNeuron(_Neuron):
    """V = V + A in each step of the source's window: it fires with the first of its spikes, in the window start <= t < stop."""

    timing = "windowed"

    kind: Literal["pool"] = "pool"
    start: Moment
    stop: Moment
    fires: ClassVar[bool] = True

    @property
    def bias(self) -> NDArray[np.int64]:
        """The membrane at the start of the run: 0."""
        return np.zeros_like(self.theta)

    def ranges(self, sums: list[Bounds], windows: list[int]) -> tuple[Bounds, Bounds]:
        """See `Layer.ranges`."""
        return sums[0], sums[0]


class PixelNeuron(_Neuron):
    """V = leak(V) + I 2^shift in each step t < stop, where I = clip((A + 2^coarse / 2) / 2^coarse, 0, high), rounded down.

    A = bias + sum of weights times (pixel - zero). zero: one pixel value per channel, or one for all. leak: as of `StepNeuron`.
    on_cores: True if the neurons are on the chip's cores, which then need biases.
    """

    kind: Literal["pixels"] = "pixels"
    bias: PerChannel
    coarse: PerChannel
    zero: Annotated[tuple[Annotated[int, Field(ge=0, le=255)], ...], Field(min_length=1)]
    high: Annotated[int, Field(ge=1, lt=1 << 31)]
    on_cores: bool
    stop: Step
    keep: Annotated[int, Field(ge=0, le=1 << 16)] = 1
    decay_bits: Annotated[int, Field(ge=0, le=16)] = 0
    start: ClassVar[int] = 0
    fires: ClassVar[bool] = True

    def ranges(self, sums: list[Bounds], windows: list[int]) -> tuple[Bounds, Bounds]:
        """See `Layer.ranges`: 0, as no register of such a layer can overflow."""
        return sums[0] * 0, sums[0] * 0


Neuron = TypeVar("Neuron", bound=_Neuron)


class Layer(Record):
    """One layer of a program: synapses and a neuron. Shapes are (height, width, channels); see docs/emulator.md.

    inputs: of the layer before it, and of a shortcut, the input of the residual block that the layer ends. shift: of all
    weights, to the left. scale: float64 [output channels], the real value of an integer weight of 1.
    """

    name: str
    inputs: Annotated[tuple[Synapses, ...], Field(min_length=1, max_length=2)]
    out_shape: Shape
    neuron: Annotated[StepNeuron | WindowedNeuron | PoolNeuron | PixelNeuron, Field(discriminator="kind")]
    accumulator: Register
    membrane: Register
    shift: Annotated[int, Field(ge=0, le=61)] = 0
    scale: Annotated[NDArray[np.float64], array_of(np.float64)]

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @model_validator(mode="after")
    def _has_scales(self) -> Self:
        if self.scale.shape != (self.out_shape[2],) or not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ValueError(f"scale: must hold {self.out_shape[2]} positive numbers")
        return self

    # What most readers ask: of the layer's own input, and of its neuron.
    kind = property(lambda self: self.inputs[0].kind)
    weight = property(lambda self: self.inputs[0].weight)
    in_shape = property(lambda self: self.inputs[0].in_shape)
    pool = property(lambda self: self.inputs[0].pool)
    pooled_shape = property(lambda self: self.inputs[0].pooled_shape)
    stride = property(lambda self: self.inputs[0].stride)
    padding = property(lambda self: self.inputs[0].padding)
    kernel = property(lambda self: self.inputs[0].kernel)
    groups = property(lambda self: self.inputs[0].groups)
    delay = property(lambda self: self.inputs[0].delay)
    shortcut = property(lambda self: self.inputs[1] if len(self.inputs) > 1 else None)
    timing = property(lambda self: self.neuron.timing)
    theta = property(lambda self: self.neuron.theta)
    bias = property(lambda self: self.neuron.bias)
    reached = property(lambda self: self.neuron.reached)
    fires = property(lambda self: self.neuron.fires)
    start = property(lambda self: self.neuron.start)
    stop = property(lambda self: self.neuron.stop)

    def __repr__(self) -> str:
        source, neurons = (" x ".join(map(str, shape)) for shape in (self.in_shape, self.out_shape))
        return f"Layer({self.name!r}, {self.kind}, {source} to {neurons}, {self.weight.dtype} weights, {self.neuron.kind})"

    __str__ = __repr__

    def neuron_as(self, kind: type[Neuron]) -> Neuron:
        """The neuron, which the caller knows to be of that kind."""
        assert isinstance(self.neuron, kind)
        return self.neuron

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return prod(self.out_shape)

    @property
    def steps(self) -> int:
        """Steps in which the neurons may fire, 0 for a readout of windows."""
        return self.neuron.stop - self.neuron.start

    @property
    def synapses(self) -> int:
        """Weights of unrolled tables, one per pair of a pooled source and a neuron."""
        return sum(part.synapses for part in self.inputs)

    @property
    def fan_in(self) -> int:
        """The most synapses that a neuron has: pairs with a source before pooling."""
        return sum(part.fan_in for part in self.inputs)

    @property
    def stored_weights(self) -> int:
        """Number of integers in the weights."""
        return sum(part.weight.size for part in self.inputs)

    def sums(self) -> list[Bounds]:
        """Of each input: the lowest and the highest sum of the weights of any of its events."""
        sums = [np.zeros((2, self.out_shape[2]), np.int64) for _ in self.inputs]
        for part, bounds in zip(self.inputs, sums, strict=True):
            bounds[:, : part.outputs] = part.sums() << self.shift
        return sums

    def max_abs_sum(self) -> NDArray[np.int64]:
        """Sum of the absolute weights of all events, int64 [output channels]."""
        total: NDArray[np.int64] = np.sum([high - low for low, high in self.sums()], 0)
        return total

    def ranges(self) -> tuple[Bounds, Bounds]:
        """What events at any times can make of accumulator and membrane, each (lowest, highest), int64 [2, channels]."""
        return self.neuron.ranges(self.sums(), [part.window for part in self.inputs])

    def closed_form(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(offset, D) of a layer of windows, per channel: its level is (offset + sum of w a) / D, rounded down, 0 to T.

        A readout's membrane is offset + sum of w a, and its D is 0.
        """
        if self.neuron.kind == "pool":
            return np.zeros_like(self.theta), np.ones_like(self.theta)
        neuron = self.neuron_as(WindowedNeuron)
        fired = neuron.rise * (self.steps + 1) - neuron.reached if neuron.fires else 0
        return neuron.bias + fired, neuron.rise

    def overflow_free(self) -> dict[str, bool]:
        """Per register, whether a static bound excludes overflow for every input; False where the bound does not."""
        registers = {"accumulator": self.accumulator, "membrane": self.membrane}
        pairs = zip(registers.items(), self.ranges(), strict=True)
        free = {name: bool(values.min() >= r.low and values.max() <= r.high) for (name, r), values in pairs}
        if self.accumulator.policy == "wrap" and self.accumulator.low == 0:
            free["membrane"] &= free["accumulator"]  # a small negative sum wraps to a large one
        return free


def _taps(size: int, kernel: int, stride: int, pad: int) -> NDArray[np.int64]:
    """Along one axis, how many taps of each output's kernel lie on the map."""
    begin = np.arange(out_size(size, kernel, stride, pad), dtype=np.int64) * stride - pad
    taps: NDArray[np.int64] = (np.minimum(begin + kernel, size) - np.maximum(begin, 0)).clip(min=0)
    return taps
