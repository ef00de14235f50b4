"""The texts of a net of windows as C99: levels instead of spike times, in closed form (docs/emulator.md, "Nets of windows")."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...spikes import SpikeTimes
from ..program.layers import Layer, Synapses, WindowedNeuron
from ..program.program import Program
from ..reporting.run import run
from . import tables

_INT32 = (1 << 31) - 1


def is_wide(program: Program) -> bool:
    """Whether some sum needs 64 bits. ValueError if a register could overflow: the closed form holds for exact sums."""
    for layer in program.layers:
        if not all(layer.overflow_free().values()):
            raise ValueError(f"program must be one whose registers cannot overflow, but those of layer {layer.name} can")
    return max(int(np.abs(layer.ranges()[1]).max() + np.abs(_bias(layer)).max()) for layer in program.layers) >= _INT32


def _bias(layer: Layer) -> NDArray[np.int64]:
    """What a sum begins with, so that the level is its quotient by the rise."""
    neuron = layer.neuron
    if not isinstance(neuron, WindowedNeuron) or not neuron.fires:
        return neuron.bias
    return neuron.bias - neuron.reached + neuron.rise * (layer.steps + 1)


def _weights(layer: Layer) -> list[tables.Weights | None]:
    """The shifted weights of each input of a layer; None of a max pool, which needs none."""
    return [
        None if layer.neuron.kind == "pool" else tables.packed(tables.by_row(_shaped(part) << layer.shift), _groups(part))
        for part in layer.inputs
    ]


def _shaped(part: Synapses) -> NDArray[np.int64]:
    weight = part.weight.astype(np.int64)
    return weight[:, None] if part.kind == "diagonal" else weight


def _groups(part: Synapses) -> int:
    return part.outputs if part.kind == "diagonal" else part.groups


def _stored(program: Program) -> list[tables.Weights]:
    return [weights for layer in program.layers for weights in _weights(layer) if weights is not None]


def levels_of(times: NDArray[np.uint8], steps: int) -> NDArray[np.uint8]:
    """The level T - t of each spike, 0 where silent."""
    return np.where(times == 255, 0, steps - times.astype(np.int64)).astype(np.uint8)


def _input(program: Program) -> tables.Input | None:
    """How C takes images; without codes where pixels are levels."""
    taken = tables.input_of(program)
    if taken is None or taken.codes is None or taken.border is None:
        return taken
    levels, border = levels_of(taken.codes, program.steps), levels_of(taken.border, program.steps)
    whole = len(levels) == 1 and not any(program.encoder.padding) and (levels[0] == np.arange(256)).all()
    return taken._replace(codes=None) if whole else taken._replace(codes=levels, border=border)


def sizes(program: Program) -> tuple[int, int]:
    """Bytes of the constant tables, and of the state (without the compiler's padding)."""
    width, taken = 8 if is_wide(program) else 4, _input(program)
    weights = sum(weight.values.nbytes for weight in _stored(program))
    constants = sum(2 * layer.out_shape[2] * width for layer in program.layers)
    codes = 0 if taken is None or taken.codes is None else taken.codes.nbytes + len(taken.codes)
    channels = max(layer.out_shape[2] for layer in program.layers)
    state = _firing(program) + (channels + program.classes) * width + 4
    return weights + constants + codes, state + (math.prod(program.input_shape) if codes else 0)


def _firing(program: Program) -> int:
    return max(1, sum(layer.neurons for layer in program.layers if layer.fires))


def network_header(program: Program, operations: float | None) -> str:
    """The text of fs_network.h. operations: synaptic, mean of the test vectors."""
    bits = {weight.bits for weight in _stored(program)}
    constants: dict[str, int | str] = {
        "FS_LAYERS": len(program.layers),
        "FS_NEURONS": _firing(program),
        "FS_CHANNELS": max(layer.out_shape[2] for layer in program.layers),
        "FS_OUTPUTS": program.classes,
        "FS_WIDEST": max(bits, default=8),
        "FS_NIBBLES": int(4 in bits),
        **dict(zip(("FS_TABLE_BYTES", "FS_STATE_BYTES"), sizes(program), strict=True)),
    }
    return tables.header(program, is_wide(program), constants, _input(program), "", operations)


def network_source(program: Program) -> str:
    """The text of fs_network.c."""
    wide, first = is_wide(program), 0
    parts, texts = ['#include "fs_core.h"\n'], []
    for n, layer in enumerate(program.layers):
        inputs = []
        for part, weights, name in zip(layer.inputs, _weights(layer), (f"weights_{n}", f"shortcut_{n}"), strict=False):
            places, bits = (0, 8) if weights is None else (weights.places, weights.bits)
            shape = (*part.in_shape, part.pool, *part.reads, *part.stride, *part.padding, _groups(part))
            sizes = ", ".join(map(str, (part.source, *shape, places, bits)))
            inputs.append(f"{{{sizes}, {'0' if weights is None else name}}}")
            parts += [] if weights is None else [weights.text(name)]
        parts.append(tables.static_table(f"fs_int bias_{n}", _bias(layer), wide))
        rise = layer.neuron.rise if isinstance(layer.neuron, WindowedNeuron) else np.ones_like(layer.theta)
        parts.append(tables.static_table(f"fs_int rise_{n}", rise, wide))
        numbers = (*layer.out_shape, first, layer.steps, len(inputs))
        inputs += ["{0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 8, 0}"] * (2 - len(inputs))
        texts.append(f"    {{{', '.join(map(str, numbers))}, bias_{n}, rise_{n}, {{{', '.join(inputs)}}}}}")
        first += layer.neurons
    parts.append("const fs_layer fs_layers[FS_LAYERS] = {\n" + ",\n".join(texts) + "};\n")
    return "\n".join([*parts, *tables.codes(_input(program))])


def vectors(program: Program, samples: Tensor | SpikeTimes) -> tuple[str, str, float]:
    """The texts of fs_vectors.h and fs_vectors.c for V samples, and the mean of operations."""
    ran = run(program, samples, trace=len(samples))
    operations = ran.count("delivered").sum(1)
    firing = [n for n, layer in enumerate(program.layers) if layer.fires]
    levels = [levels_of(np.asarray(ran.trace[f"times.{n}"], np.uint8), program.layers[n].steps) for n in firing]
    sources = levels_of(np.asarray(ran.trace["input_times"], np.uint8), program.steps)
    name, taken, pixels = tables.inputs(program, samples, sources)
    values: dict[str, NDArray[np.integer]] = {
        name: taken,
        "uint8_t fs_vector_sources[FS_VECTORS][FS_SOURCES]": sources,
        "uint8_t fs_vector_neurons[FS_VECTORS][FS_NEURONS]": np.concatenate(levels, 1) if levels else sources[:, :1] * 0,
        "fs_int fs_vector_scores[FS_VECTORS][FS_OUTPUTS]": np.asarray(ran.scores, np.int64),
        "int32_t fs_vector_classes[FS_VECTORS]": ran.predictions,
        "uint32_t fs_vector_operations[FS_VECTORS]": operations,
    }
    return *tables.vector_files(values, len(operations), pixels, is_wide(program)), float(operations.mean())
