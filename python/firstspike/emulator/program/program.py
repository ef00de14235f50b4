"""A quantised network: layers in integers, encoder, readout and profile; its input spikes, and its run in the C++ core."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from ..._base import _emulator, checks
from ..._base.checks import MAX_WINDOW
from ..._base.geometry import in_sizes
from ..._base.provenance import cores
from ..._base.records import Record
from ...nn.image_scaling import as_float
from ...spikes import SpikeTimes
from . import pixels
from .host import Encoder, Readout
from .layers import Layer, PixelNeuron, Synapses
from .profile import Profile

#: Layers of a program, neurons of all of them: work grows with both, not with the file.
LARGEST_DEPTH, LARGEST_NET = 4096, 1 << 26

COUNTERS: tuple[str, ...] = _emulator.COUNTERS


def instruction_set() -> str:
    """Return the instruction set that the core uses on this processor: "v4", "v3" (x86-64 levels) or "generic".

    Examples
    --------
    >>> emulator.instruction_set() in ("v4", "v3", "generic")
    True
    """
    return _emulator.instruction_set()


class Refusal(ValueError):
    """A chip does not take a net. layer: its name, or "net". problem, remedy: the two parts of the message.

    setting: the keyword argument, of `train.Config` or `quantize`, that the remedy begins with, and its value.
    """

    def __init__(self, layer: str, problem: str, remedy: str = "", **setting: Any) -> None:
        remedy = "".join(f"set {name} = {json.dumps(value)}" for name, value in setting.items()) + remedy
        super().__init__(layer, problem, remedy)
        self.layer, self.problem, self.remedy, self.setting = layer, problem, remedy, setting

    def __str__(self) -> str:
        return f"{'' if self.layer == 'net' else f'layer {self.layer}: '}{self.problem}; {self.remedy}"


class OverflowRefused(ValueError):
    """A register with policy `error` overflowed.

    Examples
    --------
    >>> narrow = emulator.profile.load("generic8").replace(membrane_bits=8, membrane_overflow="error")
    >>> program = emulator.quantize(models.mlp("64-300-10", steps=8), narrow)
    >>> emulator.run(program, torch.ones(4, 64))
    Traceback (most recent call last):
        ...
    firstspike.emulator.program.program.OverflowRefused: ...
    """


@dataclass(frozen=True, eq=False)
class Raw:
    """Results of the core. B samples, L layers, T total steps, N neurons of a layer.

    counters: [B, L, 7] in the order of COUNTERS. times: a layer's [B, N], 255 = silent, in steps of the run, or of the layer's
    own window. membrane: a layer's [B, T, N], in all steps in which it is updated; without `trace` a readout of windows has [B,
    1, N], at the end. overshoot: [B, N] of a last layer that fires: V - theta, at least 0 where it fired.
    """

    counters: NDArray[np.int64]
    steps_run: NDArray[np.int32]
    times: list[NDArray[np.uint8] | None]
    membrane: list[NDArray[np.int64] | None]
    overshoot: NDArray[np.int64] | None


class Engine:
    """Layers loaded into the C++ core. Raises ValueError for layers that it cannot hold exactly."""

    def __init__(self, layers: Sequence[Layer], steps: int) -> None:
        self.layers, self._network = layers, _emulator.Network(steps)
        for layer in layers:
            self._network.add(layer)

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

        early_exit: stop a sample after the step of its first output spike. all_times, trace: also return every layer's times and
        membranes. first: the number of the first sample. OverflowRefused names the first sample that overflows, and its layer.
        """
        workers = cores() if threads is None else threads
        raw = Raw(**self._network.run(np.ascontiguousarray(times), workers, early_exit, all_times, trace))
        registers = [(layer.accumulator, layer.membrane) for layer in self.layers]
        strict = np.array([[register.policy == "error" for register in pair] for pair in registers])
        for sample, n, which in np.argwhere((raw.counters[:, :, -2:] > 0) & strict)[:1]:
            register, name = registers[n][which], ("accumulator", "membrane")[which]
            raise OverflowRefused(
                f"layer {self.layers[n].name}: the {name} ({register.bits} bits, {register.low} to {register.high}) overflowed "
                f"{raw.counters[sample, n, which - 2]} times in sample {first + sample}, and its policy is error"
            )
        return raw


def last_window(layers: Sequence[Layer]) -> list[int]:
    """The layers of windows that fire while the readout integrates: pools, and the layer before them; -1 is the input."""
    sources = [layers[-1].inputs[0].source]
    while sources[-1] >= 0 and layers[sources[-1]].neuron.kind == "pool":
        sources.append(layers[sources[-1]].inputs[0].source)
    return sources


class Program(Record):
    """A network in integers for one profile: layers in order, steps T of the input, the host's encoder and readout.

    Parameters
    ----------
    layers : in order.
    steps : T of the input, 1 to 254; in nets of windows to 255.
    profile : the chip.
    encoder, readout : what the host does before and after the layers.
    pixels : a directly coded first layer in integers, whose spikes are the input of `layers`; None without.
    name : for reports.
    table : one row per layer from `quantize`, for readers.

    Raises
    ------
    ValueError : if a layer misses events of its source, or the encoder, pixels or readout do not fit the layers. The core, from
        `engine`, refuses layers that do not follow from one another.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
    >>> program.steps, program.input_shape, [layer.weight.dtype.name for layer in program.layers]
    (8, (1, 1, 32), ['int8'])
    """

    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=LARGEST_DEPTH)]
    steps: Annotated[int, Field(ge=1, le=MAX_WINDOW)]
    profile: Profile
    encoder: Encoder = Encoder(kind="spikes")
    pixels: Layer | None = None
    readout: Readout = Readout(kind="first-spike")
    name: str = "network"
    table: tuple[dict[str, bool | int | float | str | None], ...] = ()

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Check what the core does not know: its memory, the schedule, and the host's part."""
        if (neurons := sum(layer.neurons for layer in self.layers)) > LARGEST_NET:
            raise ValueError(f"layers: must have at most {LARGEST_NET} neurons together, got {neurons}")
        if self.total_steps < self.steps:
            raise ValueError(f"steps: must be at most {self.total_steps}, when the last layer stops, got {self.steps}")
        for index, layer in enumerate(self.layers):
            for part in layer.inputs:
                if part.source >= index:
                    raise ValueError(f"layers: {layer.name} must take spikes of layers before it, got source {part.source}")
                self._check_schedule(layer, part)
        self._check_host()
        return self

    def _check_schedule(self, layer: Layer, part: Synapses) -> None:
        """Check that a layer is updated whenever spikes arrive from a source."""
        begin, end = (0, self.steps) if part.source < 0 else (self.layers[part.source].start, self.layers[part.source].stop)
        if self.timing == "step":
            first, last = begin + part.delay, end + part.delay
            if layer.start > first or layer.stop < min(last, self.total_steps):
                steps = f"steps {layer.start} to {layer.stop} of {layer.name}"
                raise ValueError(f"layers: {steps} miss events that arrive in steps {first} to {last}")
        elif part.window != end - begin:
            raise ValueError(f"layers: {layer.name} must have the window of its source, steps {begin} to {end}")
        elif part is layer.inputs[0] and layer.start != part.delay + (begin if layer.neuron.kind == "pool" else end):
            raise ValueError(f"layers: {layer.name} must fire behind the window of its source, steps {begin} to {end}")

    def _check_host(self) -> None:
        first = self.pixels
        if first is not None and (first.out_shape, first.stop) != (self.input_shape, self.steps):
            raise ValueError(f"pixels: its {first.out_shape} neurons must be the input {self.input_shape} of {self.steps} steps")
        if first is not None and (first.neuron.kind, len(first.inputs), first.pool, first.groups) != ("pixels", 1, 1, 1):
            raise ValueError("pixels: must be neurons that take pixels, with one input and neither pool nor groups")
        if first is not None and self.encoder.kind != "spikes":
            raise ValueError('encoder: must be "spikes" behind a layer that takes pixels')
        weight, last, readout = self.encoder.weight, self.layers[-1], self.readout
        flat = self.encoder.kind == "direct-linear"
        if weight is not None and (len(weight) != self.input_shape[2] or (flat and self.input_shape[:2] != (1, 1))):
            raise ValueError(f"encoder: its {len(weight)} outputs must be the first layer's input, {self.input_shape}")
        if readout.classes is not None and last.neurons % readout.classes:
            raise ValueError(f"readout: classes must divide the {last.neurons} outputs, got {readout.classes}")
        if (readout.kind == "membrane") == last.fires:
            raise ValueError(f"readout: {readout.kind} does not fit a last layer with fires = {last.fires}")
        if self.timing == "windowed" and (readout.kind, readout.mode) != ("membrane", "last"):
            raise ValueError(f"readout: must be the last membrane in a net of windows, got {readout.kind}, {readout.mode}")
        if readout.kind == "temporal-weighting":
            readout.time_weights(last.steps)

    def __repr__(self) -> str:
        sizes = "-".join(str(layer.neurons) for layer in self.layers)
        return f"Program({self.name!r}, profile {self.profile.name}, steps {self.steps}, neurons {sizes})"

    __str__ = __repr__

    @property
    def total_steps(self) -> int:
        """Steps of a complete run, delays included."""
        return max(layer.neuron.stop for layer in self.layers)

    @property
    def timing(self) -> Literal["step", "windowed"]:
        """Either "step", where all layers run through the same steps, or "windowed", where each fires in a separate window."""
        return self.layers[0].neuron.timing

    @property
    def latency(self) -> int:
        """Steps until the result, without delays: T, or the sum over the windows of layers that fire, as `net.latency`."""
        windows = [layer.steps for layer in self.layers if layer.neuron.kind == "windowed"]
        return self.layers[-1].steps if self.timing == "step" else sum(windows)

    @property
    def exact_layers(self) -> list[str]:
        """The layers with whole weights, as of n-bit nets, that kept them together with all levels."""
        return [str(row["layer"]) for row in self.table if row.get("exact")]

    @property
    def score_steps(self) -> range:
        """The numbers of steps after which a run may stop, as there are scores, without delays; see `net.score_steps`."""
        if self.timing == "step":
            return range(1, self.layers[-1].steps + 1)
        end = self.steps + self.latency
        return range(end - self.layers[-1].inputs[0].window + 1, end + 1)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the sources."""
        return self.layers[0].inputs[0].in_shape

    @property
    def classes(self) -> int:
        """Number of classes of the readout."""
        return self.readout.classes or self.layers[-1].neurons

    @property
    def first_on_cores(self) -> bool:
        """True if the neurons of a first layer that takes pixels are on the chip's cores."""
        return self.pixels is not None and self.pixels.neuron_as(PixelNeuron).on_cores

    def layer(self, index: int) -> Layer:
        """A layer by its index, -1 for the one that takes pixels."""
        if index >= 0:
            return self.layers[index]
        assert self.pixels is not None
        return self.pixels

    def listeners(self, layer: int) -> set[int]:
        """Indices of the layers that take a layer's spikes, by its index, -1 for the input: the next, and by shortcuts others."""
        return {n for n, other in enumerate(self.layers) if any(part.source == layer for part in other.inputs)}

    def has_synapses_of(self, other: Program) -> bool:
        """True if one placement serves both: equal profiles, shapes, strides, weights and shortcuts; thresholds may differ."""

        def facts(layer: Layer) -> tuple[Any, ...]:
            sizes = [part.model_dump(exclude={"weight", "delay", "window"}) for part in layer.inputs]
            return layer.out_shape, sizes, [part.weight.tobytes() for part in layer.inputs]

        return self.profile == other.profile and list(map(facts, self.layers)) == list(map(facts, other.layers))

    def engine(self) -> Engine:
        """The program, loaded into the C++ core."""
        return Engine(self.layers, self.steps)

    def updated_steps(self, steps_run: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps in which each layer's neurons are updated, int64 [B, 1] or [1, L]: all that were run, of each sample.

        In nets of windows: the steps of its sources' windows, and of the window in which it fires; the last window ends with
        the sample's run.
        """
        if self.timing == "step":
            return steps_run[:, None]
        windows = [sum({part.source: part.window for part in layer.inputs}.values()) for layer in self.layers]
        fired = [layer.steps if layer.neuron.kind == "windowed" else 0 for layer in self.layers]
        return np.array([windows], np.int64) + fired - np.outer(self.total_steps - steps_run, self._in_last_window())

    def _in_last_window(self) -> list[bool]:
        """Which layers of windows are updated in the window in which the readout integrates."""
        sent = last_window(self.layers)
        return [n in sent and layer.neuron.kind == "windowed" for n, layer in enumerate(self.layers[:-1])] + [True]

    @property
    def score_scale(self) -> NDArray[np.float64]:
        """float64 [classes]: what a score of 1 is in the unit of the net's outputs."""
        last, factor = self.layers[-1], self.readout.scale(self.layers[-1].steps)
        if self.readout.kind != "membrane":
            return np.full(self.classes, factor)
        unit = last.scale / (1 if self.timing == "windowed" else last.pool**2 << last.shift)
        return factor * np.tile(unit, last.neurons // len(unit)).reshape(self.classes, -1)[:, 0]

    def input_times(self, inputs: SpikeTimes | Tensor) -> NDArray[np.uint8]:
        """uint8 [B, sources] of spikes, or of images through the encoder, or the first layer in integers."""
        if isinstance(inputs, SpikeTimes):
            spikes = inputs
        elif self.pixels is not None:
            return pixels.times(self.pixels, pixels.bytes_of(self.pixels, inputs))
        else:
            x = as_float("inputs", inputs).cpu()
            checks.finite("inputs", x)
            self.check_images(tuple(x.shape[1:]))
            with torch.inference_mode():
                scaling = self.encoder.normalize
                spikes = self.encoder.spikes(x if scaling is None else scaling(x), self.steps)
        if spikes.steps == self.encoder.code_steps:
            spikes = spikes.first(self.steps)
        if spikes.steps != self.steps:
            raise ValueError(f"spikes must have the program's steps = {self.steps}, got {spikes.steps}")
        return self.in_source_order(spikes.times).numpy()

    def in_source_order(self, values: Tensor) -> Tensor:
        """uint8 [B, sources], numbered row, column, channel, of times or pixels [B, C, H, W], or [B, N] of a flat program."""
        height, width, channels = self.input_shape
        if not height == width == 1:  # a flat program numbers as torch flattens
            if values.shape[1:] != (channels, height, width):
                expected = f"[batch, {channels}, {height}, {width}]"
                raise ValueError(f"spikes must have shape {expected}, got {tuple(values.shape)}")
            values = values.permute(0, 2, 3, 1)
        flat = values.flatten(1)
        if flat.shape[1] != height * width * channels:
            raise ValueError(f"spikes must have {height * width * channels} neurons per sample, got {flat.shape[1]}")
        return flat.cpu().contiguous()

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if the program's encoder cannot take images of that shape (channels, height, width)."""
        encoder, (height, width, channels) = self.encoder, self.input_shape
        if encoder.kind == "spikes":
            raise ValueError("the program takes SpikeTimes, not images")
        if encoder.kind == "direct-conv":
            assert encoder.weight is not None
            _, of_image, *kernel = encoder.weight.shape
            sides = zip((height, width), kernel, encoder.stride, encoder.padding, strict=True)
            least, most = zip((of_image, of_image), *(in_sizes(*side) for side in sides), strict=True)
            fits = len(shape) == 3 and all(low <= x <= high for low, x, high in zip(least, shape, most, strict=True))
            expected = f"shape {most}" if least == most else f"a shape from {least} to {most}"
        elif encoder.kind == "direct-linear" or height == width == 1:
            values = channels if encoder.weight is None else encoder.weight.shape[1]
            scaled = encoder.image_shape or ()
            fits, expected = math.prod(shape) == values, f"{values} values"
            if fits and scaled and len(shape) > 1:  # the same number of values in another order
                fits, expected = shape == scaled, f"shape {scaled}, or {values} values in a row"
        else:
            rows, columns = encoder.padding
            wanted_shape = (channels, height - 2 * rows, width - 2 * columns)
            fits, expected = shape == wanted_shape, f"shape {wanted_shape}"
        if not fits:
            raise ValueError(f"images must have {expected}, got shape {shape} (channels, height, width)")
