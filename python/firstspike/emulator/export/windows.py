"""The texts of a net of windows as C99: levels instead of spike times, in closed form (docs/emulator.md, "Nets of windows")."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...spikes import SpikeTimes
from ..program.windows import WindowLayer, WindowProgram
from ..reporting.run import run
from . import tables

_INT32 = (1 << 31) - 1


def is_wide(program: WindowProgram) -> bool:
    """Whether some sum needs 64 bits. ValueError if a register could overflow: the closed form holds for exact sums."""
    for layer in program.layers:
        if not all(layer.overflow_free().values()):
            raise ValueError(f"program must be one whose registers cannot overflow, but those of layer {layer.name} can")
    return max(int(np.abs(layer.ranges()[1]).max() + np.abs(_bias(layer)).max()) for layer in program.layers) >= _INT32


def _bias(layer: WindowLayer) -> NDArray[np.int64]:
    """What a sum begins with, so that the level is its quotient by the rise."""
    if layer.pools or not layer.fires:
        return layer.bias
    return layer.bias - layer.reached + layer.rise * (layer.steps + 1)


def _weights(layer: WindowLayer) -> list[tables.Weights]:
    """The weights of a layer and of its shortcut, shifted."""
    found = [] if layer.pools else [(layer.weight, layer.groups)]
    if (side := layer.shortcut) is not None:
        diagonal = side.weight.ndim == 1
        found.append((side.weight[:, None] if diagonal else side.weight, len(side.weight) if diagonal else 1))
    return [tables.packed(tables.by_row(weight.astype(np.int64)) << layer.shift, groups) for weight, groups in found]


def levels_of(times: NDArray[np.uint8], steps: int) -> NDArray[np.uint8]:
    """The level T - t of each spike, 0 where silent."""
    return np.where(times == 255, 0, steps - times.astype(np.int64)).astype(np.uint8)


def _input(program: WindowProgram) -> tables.Input | None:
    """How C takes images; without codes where pixels are levels."""
    taken = tables.input_of(program)
    if taken is None or taken.codes is None or taken.border is None:
        return taken
    levels, border = levels_of(taken.codes, program.steps), levels_of(taken.border, program.steps)
    whole = len(levels) == 1 and not any(program.encoder.padding) and (levels[0] == np.arange(256)).all()
    return taken._replace(codes=None) if whole else taken._replace(codes=levels, border=border)


def sizes(program: WindowProgram) -> tuple[int, int]:
    """Bytes of the constant tables, and of the state (without the compiler's padding)."""
    width, taken = 8 if is_wide(program) else 4, _input(program)
    weights = sum(weight.values.nbytes for layer in program.layers for weight in _weights(layer))
    constants = sum(2 * layer.out_shape[2] * width for layer in program.layers)
    codes = 0 if taken is None or taken.codes is None else taken.codes.nbytes + len(taken.codes)
    channels = max(layer.out_shape[2] for layer in program.layers)
    state = _firing(program) + (channels + program.classes) * width + 4
    return weights + constants + codes, state + (math.prod(program.input_shape) if codes else 0)


def _firing(program: WindowProgram) -> int:
    return max(1, sum(layer.neurons for layer in program.layers if layer.fires))


def network_header(program: WindowProgram, operations: float | None) -> str:
    """The text of fs_network.h. operations: synaptic, mean of the test vectors."""
    bits = {weight.bits for layer in program.layers for weight in _weights(layer)}
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


def network_source(program: WindowProgram) -> str:
    """The text of fs_network.c."""
    wide, first = is_wide(program), 0
    parts, texts = ['#include "fs_core.h"\n'], []
    for n, layer in enumerate(program.layers):
        names = [f"weights_{n}"] * (not layer.pools) + [f"shortcut_{n}"] * (layer.shortcut is not None)
        stored = dict(zip(names, _weights(layer), strict=True))
        parts += [weights.text(name) for name, weights in stored.items()]
        kernel = layer.kernel if layer.kind == "conv" else layer.pooled_shape[:2]
        shape = (n - 1, *layer.in_shape, layer.pool, *kernel, *layer.stride, *layer.padding, layer.groups)
        inputs = [_record(shape, stored, f"weights_{n}")]
        if (side := layer.shortcut) is not None:
            groups = len(side.weight) if side.weight.ndim == 1 else 1
            shape = (side.source, *side.in_shape, side.pool, 1, 1, *side.stride, 0, 0, groups)
            inputs.append(_record(shape, stored, f"shortcut_{n}"))
        parts.append(tables.static_table(f"fs_int bias_{n}", _bias(layer), wide))
        rise = np.ones_like(layer.rise) if layer.pools else layer.rise
        parts.append(tables.static_table(f"fs_int rise_{n}", rise, wide))
        numbers = (*layer.out_shape, first, layer.steps, len(inputs))
        inputs += ["{0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 8, 0}"] * (2 - len(inputs))
        texts.append(f"    {{{', '.join(map(str, numbers))}, bias_{n}, rise_{n}, {{{', '.join(inputs)}}}}}")
        first += layer.neurons
    parts.append("const fs_layer fs_layers[FS_LAYERS] = {\n" + ",\n".join(texts) + "};\n")
    return "\n".join([*parts, *tables.codes(_input(program))])


def _record(shape: tuple[int, ...], stored: dict[str, tables.Weights], name: str) -> str:
    weights = stored.get(name)
    places, bits, name = (0, 8, "0") if weights is None else (weights.places, weights.bits, name)
    return f"{{{', '.join(map(str, (*shape, places, bits)))}, {name}}}"


def vectors(program: WindowProgram, samples: Tensor | SpikeTimes) -> tuple[str, str, float]:
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
