"""The texts of a step-by-step program as C99: tables of its layers, and test vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..program.layers import Layer, PixelNeuron, Register, StepNeuron, Synapses
from ..program.program import Program
from ..reporting.run import Run
from . import tables
from .form import INT32, Constants, Form, Vectors

_READOUTS = {"membrane": "FS_MEMBRANE", "temporal-weighting": "FS_TEMPORAL", "first-spike": "FS_FIRST_SPIKE"}
_MODES = {"last": "FS_LAST", "mean": "FS_MEAN", "weighted": "FS_WEIGHTED", "index": "FS_INDEX"}


class Steps(Form):
    """A step-by-step program."""

    folder = "c"

    def __init__(self, program: Program) -> None:
        self.neurons = [layer.neuron_as(StepNeuron) for layer in program.layers]
        super().__init__(program)

    def _largest(self) -> int:
        first = self.program.pixels
        largest = 0 if first is None else int(first.reached.max()) + (first.neuron_as(PixelNeuron).high << first.shift)
        return max(largest, *map(_largest, self.program.layers))

    def _weights(self) -> dict[str, tables.Weights]:
        first = self.program.pixels
        weights = {f"weights_{n}": tables.packed(layer.weight) for n, layer in enumerate(self.program.layers)}
        return weights | ({} if first is None else {"weights_first": tables.packed(tables.by_row(first.weight))})

    @property
    def _has_currents(self) -> bool:
        return any(neuron.current is not None for neuron in self.neurons)

    @property
    def _largest_sums(self) -> int:
        first = 0 if self.program.pixels is None else self.program.pixels.out_shape[2]
        return max(first, *(layer.neurons for layer in self.program.layers))

    def _sizes(self) -> tuple[int, int]:
        layers, first, width = self.program.layers, self.program.pixels, self.integer
        constants = sum(2 * layer.out_shape[2] * width for layer in layers)
        constants += sum(4 * len(layer.shortcut.weight) for layer in layers if layer.shortcut is not None)
        constants += 0 if first is None else (2 * width + 1) * first.out_shape[2] + first.in_shape[2]
        constants += 8 * self.program.steps if self._counts_times else 0
        held = width * (2 if self._has_currents else 1) + 1
        neurons = sum(layer.neurons for layer in layers)
        kept = 16 if self.program.readout.mode == "weighted" else 8  # bytes of an output's sums
        return constants, neurons * held + self._largest_sums * width + layers[-1].neurons * kept + 5

    @property
    def _counts_times(self) -> bool:
        return self.program.readout.kind == "temporal-weighting"

    def _constants(self) -> Constants:
        program = self.program
        return {
            "FS_TOTAL_STEPS": program.total_steps,
            "FS_NEURONS": sum(layer.neurons for layer in program.layers),
            "FS_LARGEST": self._largest_sums,
            "FS_OUTPUTS": program.layers[-1].neurons,
            "FS_CLASSES": program.classes,
            "FS_READOUT": _READOUTS[program.readout.kind],
            "FS_MODE": _MODES.get(program.readout.mode, "FS_LAST"),
            "FS_BY_EVENT": int(any(neuron.update == "event" for neuron in self.neurons)),
            "FS_HAS_CURRENT": int(self._has_currents),
            "FS_BY_SHIFT": int(any(neuron.leak == "shift" for neuron in self.neurons)),
        }

    def _tables(self) -> list[str]:
        program, parts = self.program, []
        for n, layer in enumerate(program.layers):
            parts += [self.table(f"theta_{n}", layer.theta), self.table(f"bias_{n}", layer.bias)]
            if layer.shortcut is not None:
                parts.append(tables.static_table(f"int32_t shortcut_{n}", layer.shortcut.weight))
        texts = [self._layer(n, layer) for n, layer in enumerate(program.layers)]
        parts.append("const fs_layer fs_layers[FS_LAYERS] = {\n" + ",\n".join(texts) + "};\n")
        if program.pixels is not None:
            parts += self._first(program.pixels)
        if self._counts_times:
            weights = program.readout.time_weights(program.layers[-1].steps)
            parts.append(tables.table(f"int64_t fs_time_weights[{len(weights)}]", weights, True))
        return parts

    def _first(self, first: Layer) -> list[str]:
        """The tables and the description of the first layer on pixels."""
        neuron, stored = first.neuron_as(PixelNeuron), self.weights["weights_first"]
        sizes = (*first.in_shape, *first.inputs[0].reads, *first.stride, *first.padding, *first.out_shape, stored.places)
        numbers = (*sizes, int(neuron.fire == "gt"), first.shift, *_leak(neuron), neuron.high, stored.bits)
        return [
            self.table("theta_first", neuron.theta),
            self.table("bias_first", neuron.bias),
            tables.static_table("uint8_t coarse_first", neuron.coarse.astype(np.uint8)),
            tables.static_table("uint8_t zero_first", np.resize(np.array(neuron.zero, np.uint8), first.in_shape[2])),
            f"const fs_first_layer fs_first = {{{', '.join(map(str, numbers))},\n    weights_first, theta_first, bias_first, "
            "coarse_first, zero_first};\n",
        ]

    def _layer(self, n: int, layer: Layer) -> str:
        neuron, stored = self.neurons[n], self.weights[f"weights_{n}"]
        flags = (layer.kind == "conv", layer.fires, neuron.update == "event", neuron.fire == "gt")
        sizes = (*layer.in_shape, layer.pool, *layer.kernel, *layer.stride, *layer.padding, *layer.out_shape, stored.places)
        leak = (*_leak(neuron), neuron.leak == "shift", neuron.current is not None, neuron.current or 0)
        rest = (layer.delay, layer.start, layer.stop, layer.shift, *leak, stored.bits)
        most = 1 << 60 if self.wide else INT32 - 1
        unlimited = Register(low=-most, high=most, bits=61 if self.wide else 31)
        accumulator = self._register(layer.accumulator if _accumulator_matters(layer) else unlimited)
        numbers = ", ".join(str(int(value)) for value in (*flags, *sizes, *rest))
        return (
            f"    {{{numbers},\n     weights_{n}, theta_{n}, bias_{n}, {accumulator}, {self._register(layer.membrane)},\n"
            f"     {_shortcut(layer.shortcut, n)}}}"
        )

    def _register(self, r: Register) -> str:
        ends = f"{tables.number(r.low, self.wide)}, {tables.number(r.high, self.wide)}"
        return f"{{{ends}, {r.bits}, {int(r.policy == 'wrap')}, {int(r.policy == 'error')}}}"

    def _traced(self, ran: Run, sources: NDArray[np.uint8]) -> Vectors:
        layers, end = range(len(self.program.layers)), ran.steps_run
        times = np.concatenate([np.asarray(ran.trace[f"times.{n}"], np.uint8) for n in layers], 1)
        membranes = [ran.trace[f"membrane.{n}"][np.arange(len(end)), end - 1] for n in layers]
        return {
            "uint8_t fs_vector_sources[FS_VECTORS][FS_SOURCES]": sources,
            "uint8_t fs_vector_neurons[FS_VECTORS][FS_NEURONS]": np.where(times < end[:, None], times, 255),
            "fs_int fs_vector_membranes[FS_VECTORS][FS_NEURONS]": np.concatenate(membranes, 1),
        }


def _largest(layer: Layer) -> int:
    """A bound of all values that the layer's arithmetic forms, the products of leaks aside."""
    membrane = max(-layer.membrane.low, layer.membrane.high)
    added, held = int(layer.max_abs_sum().max()), 0
    if _accumulator_matters(layer):
        held = max(-layer.accumulator.low, layer.accumulator.high, 1 << layer.accumulator.bits - 1)
        if layer.accumulator.policy == "wrap":  # unsigned wrapping can turn a small sum into a large one
            added = max(added, held)
    reach = added + membrane + int(np.abs(layer.bias).max()) + (0 if layer.neuron_as(StepNeuron).current is None else held)
    return max(reach, int(np.abs(layer.theta).max()) + 1, held, 1 << layer.membrane.bits - 1)


def _leak(neuron: StepNeuron | PixelNeuron) -> tuple[int, int]:
    """(decay_bits, keep); (0, 1) of a membrane that keeps everything, so that the C code forms no product."""
    if isinstance(neuron, StepNeuron) and neuron.leak == "shift":
        return neuron.decay_bits, neuron.keep
    has_current = isinstance(neuron, StepNeuron) and neuron.current is not None
    whole = (neuron.keep == 1 << neuron.decay_bits and not has_current) or not neuron.decay_bits
    return (0, 1) if whole else (neuron.decay_bits, neuron.keep)


def _accumulator_matters(layer: Layer) -> bool:
    return layer.neuron_as(StepNeuron).update == "clocked" and not layer.overflow_free()["accumulator"]


def _shortcut(shortcut: Synapses | None, n: int) -> str:
    if shortcut is None:
        return "{FS_NONE, 0, 0, 0, 1, 1, 0, 0}"
    numbers = (shortcut.source, *shortcut.in_shape, *shortcut.stride, shortcut.delay)
    return "{" + ", ".join(str(int(value)) for value in numbers) + f", shortcut_{n}}}"
