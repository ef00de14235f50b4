"""The texts of a step-by-step program as C99: tables of its layers, and test vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...spikes import SpikeTimes
from ..program.layers import Layer, PixelNeuron, Register, StepNeuron, Synapses
from ..program.program import Program
from ..reporting.run import run
from . import tables

_INT32 = (1 << 31) - 1
_READOUTS = {"membrane": "FS_MEMBRANE", "temporal-weighting": "FS_TEMPORAL", "first-spike": "FS_FIRST_SPIKE"}
_MODES = {"last": "FS_LAST", "mean": "FS_MEAN", "weighted": "FS_WEIGHTED", "index": "FS_INDEX"}


def is_wide(program: Program) -> bool:
    """Whether some membrane, sum or threshold needs 64 bits; else 32 bits hold all of them."""
    first = program.pixels
    if first is not None and int(first.reached.max()) + (first.neuron_as(PixelNeuron).high << first.shift) >= _INT32:
        return True
    return any(_largest(layer) >= _INT32 for layer in program.layers)


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


def _weights(program: Program) -> list[tables.Weights]:
    """The weights of the layers, then of the first layer on pixels."""
    made = [tables.packed(layer.weight) for layer in program.layers]
    return made + ([] if program.pixels is None else [tables.packed(tables.by_row(program.pixels.weight))])


def sizes(program: Program) -> tuple[int, int]:
    """Bytes of the constant tables, and of the state (without the compiler's padding)."""
    width, first, taken = 8 if is_wide(program) else 4, program.pixels, tables.input_of(program)
    neurons = [layer.neurons for layer in program.layers]
    constants = sum(weights.values.nbytes for weights in _weights(program))
    constants += sum(2 * layer.out_shape[2] * width for layer in program.layers)
    constants += sum(4 * len(layer.shortcut.weight) for layer in program.layers if layer.shortcut is not None)
    constants += 0 if first is None else (2 * width + 1) * first.out_shape[2] + first.in_shape[2]
    constants += 0 if taken is None or taken.codes is None else taken.codes.nbytes + len(taken.codes)
    constants += 8 * program.steps if program.readout.kind == "temporal-weighting" else 0
    held = width * (2 if _has_currents(program) else 1)
    state = sum(neurons) * (held + 1) + _largest_sums(program) * width + neurons[-1] * 8 + 5
    return constants, state + (0 if taken is None else int(np.prod(program.input_shape)))


def _has_currents(program: Program) -> bool:
    return any(layer.neuron_as(StepNeuron).current is not None for layer in program.layers)


def _largest_sums(program: Program) -> int:
    first = 0 if program.pixels is None else program.pixels.out_shape[2]
    return max(first, *(layer.neurons for layer in program.layers))


def network_header(program: Program, operations: float | None) -> str:
    """The text of fs_network.h. operations: synaptic, mean of the test vectors."""
    last, bits = program.layers[-1], {weights.bits for weights in _weights(program)}
    neurons = [layer.neuron_as(StepNeuron) for layer in program.layers]
    constants: dict[str, int | str] = {
        "FS_LAYERS": len(program.layers),
        "FS_TOTAL_STEPS": program.total_steps,
        "FS_NEURONS": sum(layer.neurons for layer in program.layers),
        "FS_LARGEST": _largest_sums(program),
        "FS_OUTPUTS": last.neurons,
        "FS_CLASSES": program.classes,
        "FS_READOUT": _READOUTS[program.readout.kind],
        "FS_MODE": _MODES.get(program.readout.mode, "FS_LAST"),
        "FS_BY_EVENT": int(any(neuron.update == "event" for neuron in neurons)),
        "FS_HAS_CURRENT": int(_has_currents(program)),
        "FS_BY_SHIFT": int(any(neuron.leak == "shift" for neuron in neurons)),
        "FS_WIDEST": max(bits),
        "FS_NIBBLES": int(4 in bits),
        **dict(zip(("FS_TABLE_BYTES", "FS_STATE_BYTES"), sizes(program), strict=True)),
    }
    declared = "\nextern const int64_t fs_time_weights[];\n" if program.readout.kind == "temporal-weighting" else ""
    return tables.header(program, is_wide(program), constants, tables.input_of(program), declared, operations)


def network_source(program: Program) -> str:
    """The text of fs_network.c."""
    wide, stored = is_wide(program), _weights(program)
    parts = ['#include "fs_core.h"\n']
    for n, layer in enumerate(program.layers):
        parts += [
            stored[n].text(f"weights_{n}"),
            tables.static_table(f"fs_int theta_{n}", layer.theta, wide),
            tables.static_table(f"fs_int bias_{n}", layer.bias, wide),
        ]
        if layer.shortcut is not None:
            parts.append(tables.static_table(f"int32_t shortcut_{n}", layer.shortcut.weight))
    texts = [_layer(layer, n, stored[n], wide) for n, layer in enumerate(program.layers)]
    parts.append("const fs_layer fs_layers[FS_LAYERS] = {\n" + ",\n".join(texts) + "};\n")
    if program.pixels is not None:
        parts += _first(program.pixels, stored[-1], wide)
    if program.readout.kind == "temporal-weighting":
        last = program.layers[-1]
        weights = program.readout.time_weights(last.steps)
        parts.append(tables.table(f"int64_t fs_time_weights[{len(weights)}]", weights, True))
    return "\n".join([*parts, *tables.codes(tables.input_of(program))])


def _first(first: Layer, stored: tables.Weights, wide: bool) -> list[str]:
    """The tables and the description of the first layer on pixels."""
    neuron, kernel = first.neuron_as(PixelNeuron), first.inputs[0].reads
    shape = (*first.in_shape, *kernel, *first.stride, *first.padding, *first.out_shape, stored.places)
    numbers = (
        *shape,
        int(neuron.fire == "gt"),
        first.shift,
        *_leak(neuron),
        neuron.high,
        stored.bits,
    )
    zero = np.resize(np.array(neuron.zero, np.uint8), first.in_shape[2])
    return [
        stored.text("weights_first"),
        tables.static_table("fs_int theta_first", first.theta, wide),
        tables.static_table("fs_int bias_first", first.bias, wide),
        tables.static_table("uint8_t coarse_first", neuron.coarse.astype(np.uint8)),
        tables.static_table("uint8_t zero_first", zero),
        f"const fs_first_layer fs_first = {{{', '.join(map(str, numbers))},\n    weights_first, theta_first, bias_first, "
        "coarse_first, zero_first};\n",
    ]


def _layer(layer: Layer, n: int, stored: tables.Weights, wide: bool) -> str:
    neuron = layer.neuron_as(StepNeuron)
    flags = (layer.kind == "conv", layer.fires, neuron.update == "event", neuron.fire == "gt")
    shape = (*layer.in_shape, layer.pool, *layer.kernel, *layer.stride, *layer.padding, *layer.out_shape, stored.places)
    leak = (*_leak(neuron), neuron.leak == "shift", neuron.current is not None, neuron.current or 0)
    rest = (layer.delay, layer.start, layer.stop, layer.shift, *leak, stored.bits)
    most = 1 << 60 if wide else _INT32 - 1
    unlimited = Register(low=-most, high=most, bits=61 if wide else 31)
    accumulator = layer.accumulator if _accumulator_matters(layer) else unlimited
    return (
        "    {"
        + ", ".join(str(int(value)) for value in (*flags, *shape, *rest))
        + f",\n     weights_{n}, theta_{n}, bias_{n}, {_register(accumulator, wide)}, {_register(layer.membrane, wide)},\n"
        + f"     {_shortcut(layer.shortcut, n)}}}"
    )


def _shortcut(shortcut: Synapses | None, n: int) -> str:
    if shortcut is None:
        return "{FS_NONE, 0, 0, 0, 1, 1, 0, 0}"
    numbers = (shortcut.source, *shortcut.in_shape, *shortcut.stride, shortcut.delay)
    return "{" + ", ".join(str(int(value)) for value in numbers) + f", shortcut_{n}}}"


def _register(r: Register, wide: bool) -> str:
    ends = f"{tables.number(r.low, wide)}, {tables.number(r.high, wide)}"
    return f"{{{ends}, {r.bits}, {int(r.policy == 'wrap')}, {int(r.policy == 'error')}}}"


def vectors(program: Program, samples: Tensor | SpikeTimes) -> tuple[str, str, float]:
    """The texts of fs_vectors.h and fs_vectors.c for V samples, and the mean of operations."""
    ran, layers = run(program, samples, trace=len(samples)), range(len(program.layers))
    operations = ran.count("delivered").sum(1)
    sources = np.asarray(ran.trace["input_times"], np.uint8)
    name, taken, pixels = tables.inputs(program, samples, sources)
    values: dict[str, NDArray[np.integer]] = {
        name: taken,
        "uint8_t fs_vector_sources[FS_VECTORS][FS_SOURCES]": sources,
        "uint8_t fs_vector_neurons[FS_VECTORS][FS_NEURONS]": np.concatenate([ran.trace[f"times.{n}"] for n in layers], 1),
        "fs_int fs_vector_membranes[FS_VECTORS][FS_NEURONS]": np.concatenate(
            [ran.trace[f"membrane.{n}"][:, -1] for n in layers], 1
        ),
        "int32_t fs_vector_classes[FS_VECTORS]": ran.predictions,
        "uint32_t fs_vector_operations[FS_VECTORS]": operations,
    }
    return *tables.vector_files(values, len(sources), pixels, is_wide(program)), float(operations.mean())
