"""The texts of a step-by-step program as C99: tables of its layers, and test vectors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...nn.image_scaling import as_float
from ...spikes import SpikeTimes
from ..program.layers import Layer, Register, Shortcut
from ..program.program import Program
from ..reporting.run import run
from . import tables

_INT32 = (1 << 31) - 1
_READOUTS = {"membrane": "FS_MEMBRANE", "temporal-weighting": "FS_TEMPORAL", "first-spike": "FS_FIRST_SPIKE"}
_MODES = {"last": "FS_LAST", "mean": "FS_MEAN", "weighted": "FS_WEIGHTED", "index": "FS_INDEX"}
_FACTOR = 0x9E3779B1  # of the hash in main.c


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


def sizes(program: Program) -> tuple[int, int]:
    """Bytes of the constant tables, and of the state (without the compiler's padding)."""
    width = 8 if is_wide(program) else 4
    neurons = [layer.neurons for layer in program.layers]
    tables = sum(layer.weight.nbytes + 2 * layer.out_shape[2] * width for layer in program.layers)
    tables += sum(4 * len(layer.shortcut.weight) for layer in program.layers if layer.shortcut is not None)
    tables += 256 if pixel_table(program) is not None else 0
    tables += 8 * program.steps if program.readout.kind == "temporal-weighting" else 0
    state = sum(neurons) * (width + 1) + max(neurons) * width + neurons[-1] * 8 + 8
    return tables, state


def pixel_table(program: Program) -> NDArray[np.uint8] | None:
    """The spike time of each of the 256 pixel values, where the encoder is a table of them; else None."""
    if program.encoder.kind != "latency" or program.encoder.mean is not None:
        return None
    pixels = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    return program.encoder.spikes(as_float("pixels", pixels), program.steps).times.flatten().numpy()


def network_header(program: Program) -> str:
    """The text of fs_network.h."""
    wide, last = is_wide(program), program.layers[-1]
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
        "FS_HAS_ENCODER": int(pixel_table(program) is not None),
        "FS_TABLE_BYTES": sizes(program)[0],
        "FS_READOUT": _READOUTS[program.readout.kind],
        "FS_MODE": _MODES.get(program.readout.mode, "FS_LAST"),
    }
    height, width, channels = program.input_shape
    return (
        f"/* {tables.comment(program.name)}, profile {tables.comment(program.profile.name)}; written by firstspike. */\n"
        "#ifndef FS_NETWORK_H\n#define FS_NETWORK_H\n\n#include <stdint.h>\n\n"
        f"typedef {'int64_t' if wide else 'int32_t'} fs_int;\ntypedef {'uint64_t' if wide else 'uint32_t'} fs_uint;\n\n"
        f"/* Sources: {height} rows, {width} columns, {channels} channels, numbered in this order. */\n"
        + tables.defines(constants)
        + ("\nextern const uint8_t fs_time_of_pixel[256];\n" if constants["FS_HAS_ENCODER"] else "")
        + ("\nextern const int64_t fs_time_weights[];\n" if program.readout.kind == "temporal-weighting" else "")
        + "\n#endif\n"
    )


def network_source(program: Program) -> str:
    """The text of fs_network.c."""
    wide = is_wide(program)
    parts = ['#include "fs_core.h"\n']
    for n, layer in enumerate(program.layers):
        bits = 8 * layer.weight.itemsize
        parts += [
            tables.static_table(f"int{bits}_t weights_{n}", layer.weight),
            tables.static_table(f"fs_int theta_{n}", layer.theta, wide),
            tables.static_table(f"fs_int bias_{n}", layer.bias, wide),
        ]
        if layer.shortcut is not None:
            parts.append(tables.static_table(f"int32_t shortcut_{n}", layer.shortcut.weight))
    texts = [_layer(layer, n, wide) for n, layer in enumerate(program.layers)]
    parts.append("const fs_layer fs_layers[FS_LAYERS] = {\n" + ",\n".join(texts) + "};\n")
    times = pixel_table(program)
    if times is not None:
        parts.append(tables.table("uint8_t fs_time_of_pixel[256]", times))
    if program.readout.kind == "temporal-weighting":
        last = program.layers[-1]
        weights = program.readout.time_weights(last.stop - last.start)
        parts.append(tables.table(f"int64_t fs_time_weights[{len(weights)}]", weights, True))
    return "\n".join(parts)


def _layer(layer: Layer, n: int, wide: bool) -> str:
    flags = (layer.kind == "conv", layer.fires, layer.update == "event", layer.fire == "gt")
    shape = (*layer.in_shape, layer.pool, *layer.kernel, *layer.stride, *layer.padding, *layer.out_shape)
    keep, decay_bits = _leak(layer)
    rest = (layer.delay, layer.start, layer.stop, layer.shift, decay_bits, keep, layer.weight.itemsize)
    most = 1 << 60 if wide else _INT32 - 1
    unlimited = Register(low=-most, high=most, bits=61 if wide else 31)
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
    ends = f"{tables.number(r.low, wide)}, {tables.number(r.high, wide)}"
    return f"{{{ends}, {r.bits}, {int(r.policy == 'wrap')}, {int(r.policy == 'error')}}}"


def vectors(program: Program, samples: Tensor | SpikeTimes) -> tuple[str, str, float]:
    """The texts of fs_vectors.h and fs_vectors.c for V samples, and the mean of operations; hashes are of all membranes."""
    ran, layers = run(program, samples, trace=len(samples)), range(len(program.layers))
    trace = np.concatenate([ran.trace[f"membrane.{n}"] for n in layers], 2)
    operations = ran.count("delivered").sum(1)
    values: dict[str, NDArray[np.integer]] = {
        "uint8_t fs_vector_inputs[FS_VECTORS][FS_SOURCES]": np.asarray(ran.trace["input_times"], np.uint8),
        "uint8_t fs_vector_times[FS_VECTORS][FS_NEURONS]": np.concatenate([ran.trace[f"times.{n}"] for n in layers], 1),
        "uint32_t fs_vector_hashes[FS_VECTORS]": np.array([_hash(sample) for sample in trace], np.uint32),
        "int32_t fs_vector_classes[FS_VECTORS]": ran.predictions,
        "uint32_t fs_vector_operations[FS_VECTORS]": operations,
    }
    pixels = isinstance(samples, Tensor) and samples.dtype == torch.uint8 and pixel_table(program) is not None
    if pixels:
        order = program.in_source_order(samples)  # type: ignore[arg-type]
        values = {"uint8_t fs_vector_pixels[FS_VECTORS][FS_SOURCES]": order, **values}
    return *tables.vector_files(values, len(trace), pixels), float(operations.mean())


def _hash(trace: NDArray[np.int64]) -> int:
    """hash * 0x9E3779B1 + word from 1 on, over the low and the high half of every membrane, modulo 2^32 (main.c)."""
    v = trace.ravel()
    words = np.stack([v & 0xFFFFFFFF, (v >> 32) & 0xFFFFFFFF], 1).ravel().astype(np.uint32)
    powers = np.full(len(words) + 1, _FACTOR, np.uint32)
    powers[0] = 1
    powers = np.multiply.accumulate(powers, dtype=np.uint32)[::-1]
    return (int(powers[0]) + int((words * powers[1:]).sum(dtype=np.uint64))) % (1 << 32)
