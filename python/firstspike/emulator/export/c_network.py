"""The tables of a program as C99: fs_network.h and fs_network.c."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..program.layers import Layer, Register, Shortcut
from ..program.program import Program
from . import c_text

_INT32 = (1 << 31) - 1
_READOUTS = {"membrane": "FS_MEMBRANE", "temporal-weighting": "FS_TEMPORAL", "first-spike": "FS_FIRST_SPIKE"}
_MODES = {"last": "FS_LAST", "mean": "FS_MEAN", "weighted": "FS_WEIGHTED", "index": "FS_INDEX"}


@dataclass(frozen=True)
class Sizes:
    """Memory of an exported program: bytes of constant tables, and of the state (without the compiler's padding)."""

    table_bytes: int
    state_bytes: int


def is_wide(program: Program) -> bool:
    """Whether some membrane, sum or threshold needs 64 bits; else 32 bits hold all of them."""
    return any(_largest(layer) >= _INT32 for layer in program.layers)


def _largest(layer: Layer) -> int:
    """A bound of all values that the layer's arithmetic forms."""
    if _leak(layer)[1]:
        return 1 << 62  # the product with the factor of the leak
    membrane = max(-layer.membrane.low, layer.membrane.high)
    added, held = int(layer.max_abs_sum().max()), 0
    if _accumulator_matters(layer):
        held = max(-layer.accumulator.low, layer.accumulator.high, 1 << layer.accumulator.bits - 1)
        if layer.accumulator.policy == "wrap":  # unsigned wrapping can turn a small sum into a large one
            added = max(added, held)
    reach = added + membrane + int(np.abs(layer.bias).max())
    return max(reach, int(np.abs(layer.theta).max()) + 1, held, 1 << layer.membrane.bits - 1)


def _leak(layer: Layer) -> tuple[int, int]:
    """(keep, decay_bits); (1, 0), no leak, where the membrane keeps everything, so that the C code forms no product."""
    return (1, 0) if layer.keep == 1 << layer.decay_bits else (layer.keep, layer.decay_bits)


def _accumulator_matters(layer: Layer) -> bool:
    return layer.update == "clocked" and not layer.overflow_free()["accumulator"]


def sizes(program: Program) -> Sizes:
    """The memory that the exported program needs."""
    width = 8 if is_wide(program) else 4
    neurons = [layer.neurons for layer in program.layers]
    tables = sum(layer.weight.nbytes + 2 * layer.out_shape[2] * width for layer in program.layers)
    tables += sum(4 * len(layer.shortcut.weight) for layer in program.layers if layer.shortcut is not None)
    tables += 256 if pixel_times(program) is not None else 0
    tables += 8 * program.steps if program.readout.kind == "temporal-weighting" else 0
    state = sum(neurons) * (width + 1) + max(neurons) * width + neurons[-1] * 8 + 8
    return Sizes(tables, state)


def pixel_times(program: Program) -> NDArray[np.uint8] | None:
    """The spike time of each of the 256 pixel values, where the encoder is a table of them; else None."""
    if program.encoder.kind != "latency" or program.encoder.mean is not None:
        return None
    pixels = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    return program.encoder.spikes(program.encoder.normalize(pixels), program.steps).times.flatten().numpy()


def header(program: Program) -> str:
    """The text of fs_network.h."""
    wide, last, made = is_wide(program), program.layers[-1], sizes(program)
    neurons = [layer.neurons for layer in program.layers]
    constants: dict[str, int | str] = {
        "FS_LAYERS": len(program.layers),
        "FS_SOURCES": int(np.prod(program.input_shape)),
        "FS_STEPS": program.steps,
        "FS_TOTAL_STEPS": program.total_steps,
        "FS_NEURONS": sum(neurons),
        "FS_LARGEST": max(neurons),
        "FS_OUTPUTS": last.neurons,
        "FS_CLASSES": program.classes,
        "FS_HAS_ENCODER": int(pixel_times(program) is not None),
        "FS_TABLE_BYTES": made.table_bytes,
        "FS_MEMBRANE": 0,
        "FS_TEMPORAL": 1,
        "FS_FIRST_SPIKE": 2,
        "FS_READOUT": _READOUTS[program.readout.kind],
        "FS_LAST": 0,
        "FS_MEAN": 1,
        "FS_WEIGHTED": 2,
        "FS_INDEX": 3,
        "FS_MODE": _MODES.get(program.readout.mode, "FS_LAST"),
    }
    height, width, channels = program.input_shape
    return (
        f"/* {_comment(program.name)}, profile {_comment(program.profile.name)}; written by firstspike. */\n"
        "#ifndef FS_NETWORK_H\n#define FS_NETWORK_H\n\n#include <stdint.h>\n\n"
        f"typedef {'int64_t' if wide else 'int32_t'} fs_int;\ntypedef {'uint64_t' if wide else 'uint32_t'} fs_uint;\n\n"
        f"/* Sources: {height} rows, {width} columns, {channels} channels, numbered in this order. */\n"
        + c_text.defines(constants)
        + ("\nextern const uint8_t fs_time_of_pixel[256];\n" if constants["FS_HAS_ENCODER"] else "")
        + ("\nextern const int64_t fs_time_weights[];\n" if program.readout.kind == "temporal-weighting" else "")
        + "\n#endif\n"
    )


def source(program: Program) -> str:
    """The text of fs_network.c."""
    wide = is_wide(program)
    parts = ['#include "fs_core.h"\n']
    for n, layer in enumerate(program.layers):
        bits = 8 * layer.weight.itemsize
        parts += [
            _static(f"int{bits}_t weights_{n}", layer.weight),
            _static(f"fs_int theta_{n}", layer.theta, wide),
            _static(f"fs_int bias_{n}", layer.bias, wide),
        ]
        if layer.shortcut is not None:
            parts.append(_static(f"int32_t shortcut_{n}", layer.shortcut.weight))
    texts = [_layer(layer, n, wide) for n, layer in enumerate(program.layers)]
    parts.append("const fs_layer fs_layers[FS_LAYERS] = {\n" + ",\n".join(texts) + "};\n")
    times = pixel_times(program)
    if times is not None:
        parts.append(c_text.array("uint8_t fs_time_of_pixel[256]", times))
    if program.readout.kind == "temporal-weighting":
        last = program.layers[-1]
        weights = program.readout.time_weights(last.stop - last.start)
        parts.append(c_text.array(f"int64_t fs_time_weights[{len(weights)}]", weights, True))
    return "\n".join(parts)


def _static(declaration: str, values: NDArray[np.integer], wide: bool = False) -> str:
    """The table of that type and name."""
    return "static " + c_text.array(f"{declaration}[{values.size}]", values, wide)


def _layer(layer: Layer, n: int, wide: bool) -> str:
    kernel = layer.weight.shape[1:3] if layer.kind == "conv" else (1, 1)
    flags = (layer.kind == "conv", layer.fires, layer.update == "event", layer.fire == "gt")
    shape = (*layer.in_shape, layer.pool, *kernel, *layer.stride, *layer.padding, *layer.out_shape)
    keep, decay_bits = _leak(layer)
    rest = (layer.delay, layer.start, layer.stop, layer.shift, decay_bits, keep, layer.weight.itemsize)
    most = 1 << 60 if wide else _INT32 - 1
    unlimited = Register(-most, most, 61 if wide else 31)  # of all sums that `is_wide` lets be of that width
    accumulator = layer.accumulator if _accumulator_matters(layer) else unlimited
    return (
        "    {"
        + ", ".join(str(int(value)) for value in (*flags, *shape, *rest))
        + f",\n     weights_{n}, theta_{n}, bias_{n}, {_register(accumulator, wide)}, {_register(layer.membrane, wide)},\n"
        + f"     {_shortcut(layer.shortcut, n)}}}"
    )


def _shortcut(shortcut: Shortcut | None, n: int) -> str:
    if shortcut is None:
        return "{FS_NONE, 0, 0, 0, 1, 1, 0, 0}"
    numbers = (shortcut.source, *shortcut.in_shape, *shortcut.stride, shortcut.delay)
    return "{" + ", ".join(str(int(value)) for value in numbers) + f", shortcut_{n}}}"


def _register(r: Register, wide: bool) -> str:
    ends = f"{c_text.number(r.low, wide)}, {c_text.number(r.high, wide)}"
    return f"{{{ends}, {r.bits}, {int(r.policy == 'wrap')}, {int(r.policy == 'error')}}}"


def _comment(text: str) -> str:
    return "".join(c if c.isalnum() or c in " -_.,:x" else "?" for c in text)
