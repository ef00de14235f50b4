"""`export_c`: a program as a folder of C99 sources, with test vectors of real samples and tables for other tools."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._base import checks
from ..._base.files import write_npz, write_text
from ...nn.image_scaling import as_float
from ...spikes import SpikeTimes
from ..program.layers import Layer, Register, Shortcut
from ..program.program import Program
from ..program.serialization import take_apart
from ..reporting.run import run

_FIXED = ("fs_core.h", "fs_core.c", "main.c", "Makefile", "README.txt")
_INT32 = (1 << 31) - 1
_READOUTS = {"membrane": "FS_MEMBRANE", "temporal-weighting": "FS_TEMPORAL", "first-spike": "FS_FIRST_SPIKE"}
_MODES = {"last": "FS_LAST", "mean": "FS_MEAN", "weighted": "FS_WEIGHTED", "index": "FS_INDEX"}
_PER_LINE = 16
_FACTOR = 0x9E3779B1  # of the hash in main.c


@dataclass(frozen=True)
class Exported:
    """The files of an export and their sizes.

    files: their paths. table_bytes: constant tables. state_bytes: RAM, without padding. operations_per_sample: synaptic
    operations, mean over the test vectors, None without. integer_bits: 32 or 64. encoder: True if C encodes pixels.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8))
    >>> emulator.export_c(program, "sizes").integer_bits
    32
    """

    files: list[Path]
    table_bytes: int
    state_bytes: int
    operations_per_sample: float | None
    integer_bits: int
    encoder: bool

    def text(self) -> str:
        """The figures, one per line."""
        operations = "unknown" if self.operations_per_sample is None else f"{self.operations_per_sample:.1f}"
        return (
            f"flash: {self.table_bytes} bytes of tables\nRAM: {self.state_bytes} bytes of state\n"
            f"synaptic operations per sample: {operations}\n"
        )


def export_c(
    program: Program, directory: str | os.PathLike[str], *, samples: Tensor | SpikeTimes | None = None
) -> Exported:
    """Write a program as C99 without floats, heap or library; `make test` in the folder compiles it and checks it.

    The C code computes the spike times, membranes and decisions of `emulator.run`, bit for bit. `network.npz` and `mem/*.mem`
    (one hexadecimal word per line) have the tables for other tools. Latency coding without mean and std is part of the C
    code; the C code behind a directly coded layer takes that layer's spike times.

    Parameters
    ----------
    program : Program
    directory : str or os.PathLike
        Files of an earlier export are replaced or removed; a folder with another README.txt, Makefile or main.c is refused.
    samples : Tensor or SpikeTimes, optional
        Samples as `emulator.run` takes them. They become test vectors (`fs_vectors.*`, `main.c`, for `make test`).

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8))
    >>> written = emulator.export_c(program, "chip", samples=torch.rand(3, 1, 8, 8))
    >>> "fs_network.c" in [path.name for path in written.files]
    True
    """
    checks.instance("program", program, Program, "a Program")
    folder = checks.path("directory", directory)
    others = [name for name in ("README.txt", "Makefile", "main.c") if (folder / name).exists()]
    if others and not (folder / "fs_network.h").exists():
        raise ValueError(f"directory must be new, or of an earlier export; {folder} has another {', '.join(others)}")
    if samples is not None:
        checks.batch("samples", samples, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
        if not len(samples):
            raise ValueError("samples must hold at least one sample, or be None for no test vectors")
    for earlier in (*folder.glob("fs_vectors.*"), *(folder / "mem").glob("layer.*.mem")):
        if earlier.name == "fs_vectors.h":
            (folder / "main.c").unlink(missing_ok=True)
        earlier.unlink()
    texts = {"fs_network.h": network_header(program), "fs_network.c": network_source(program)}
    fixed = resources.files(__package__).joinpath("c")
    for name in _FIXED:
        if samples is not None or name != "main.c":
            texts[name] = fixed.joinpath(name).read_text(encoding="utf-8")
    operations = None
    if samples is not None:
        texts["fs_vectors.h"], texts["fs_vectors.c"], operations = vectors(program, samples)
    header, arrays = take_apart(program)
    tables = {name: values for name, values in arrays.items() if name.startswith("layer.") and ".scale" not in name}
    texts |= {f"mem/{name}.mem": _words(values) for name, values in tables.items()}
    files = [write_text(folder / name, text) for name, text in texts.items()]
    files.append(write_npz(folder / "network.npz", {"header": np.array(json.dumps(header)), **arrays}))
    bits, encodes = 64 if is_wide(program) else 32, pixel_times(program) is not None
    return Exported(files, *sizes(program), operations, bits, encodes)


def _words(values: NDArray[np.integer]) -> str:
    """A table as `$readmemh` of Verilog reads it: one word per line, two's complement, in the order of the array."""
    flat = values.astype(np.int64).ravel()
    most = max(-int(flat.min(initial=0)) - 1, int(flat.max(initial=0)))
    digits = -(-(most.bit_length() + 1) // 4)
    mask = (1 << 4 * digits) - 1
    lines = [f"{int(value) & mask:0{digits}x}" for value in flat]
    return f"// {len(lines)} words of {4 * digits} bits, two's complement\n" + "\n".join(lines) + "\n"


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
    tables += 256 if pixel_times(program) is not None else 0
    tables += 8 * program.steps if program.readout.kind == "temporal-weighting" else 0
    state = sum(neurons) * (width + 1) + max(neurons) * width + neurons[-1] * 8 + 8
    return tables, state


def pixel_times(program: Program) -> NDArray[np.uint8] | None:
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
        "FS_HAS_ENCODER": int(pixel_times(program) is not None),
        "FS_TABLE_BYTES": sizes(program)[0],
        "FS_READOUT": _READOUTS[program.readout.kind],
        "FS_MODE": _MODES.get(program.readout.mode, "FS_LAST"),
    }
    height, width, channels = program.input_shape
    return (
        f"/* {_comment(program.name)}, profile {_comment(program.profile.name)}; written by firstspike. */\n"
        "#ifndef FS_NETWORK_H\n#define FS_NETWORK_H\n\n#include <stdint.h>\n\n"
        f"typedef {'int64_t' if wide else 'int32_t'} fs_int;\ntypedef {'uint64_t' if wide else 'uint32_t'} fs_uint;\n\n"
        f"/* Sources: {height} rows, {width} columns, {channels} channels, numbered in this order. */\n"
        + _defines(constants)
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
        parts.append(_array("uint8_t fs_time_of_pixel[256]", times))
    if program.readout.kind == "temporal-weighting":
        last = program.layers[-1]
        weights = program.readout.time_weights(last.stop - last.start)
        parts.append(_array(f"int64_t fs_time_weights[{len(weights)}]", weights, True))
    return "\n".join(parts)


def _static(declaration: str, values: NDArray[np.integer], wide: bool = False) -> str:
    """The table of that type and name."""
    return "static " + _array(f"{declaration}[{values.size}]", values.ravel(), wide)


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
    ends = f"{_number(r.low, wide)}, {_number(r.high, wide)}"
    return f"{{{ends}, {r.bits}, {int(r.policy == 'wrap')}, {int(r.policy == 'error')}}}"


def _comment(text: str) -> str:
    return "".join(c if c.isalnum() or c in " -_.,:x" else "?" for c in text)


def _number(value: int, wide: bool = False) -> str:
    """An integer constant; `wide`: of 64 bits."""
    if not wide:
        return str(int(value))
    return f"(-INT64_C({-int(value)}))" if value < 0 else f"INT64_C({int(value)})"


def _array(declaration: str, values: NDArray[np.integer], wide: bool = False) -> str:
    """`const DECLARATION = {...};` for an array of one dimension, `{{...}, ...}` for rows."""
    texts = [_number(int(value), wide) for value in values.ravel()]
    width = _PER_LINE if values.ndim == 1 else values.shape[1]
    lines = [", ".join(texts[i : i + width]) for i in range(0, len(texts), width)]
    lines = lines if values.ndim == 1 else [f"{{{line}}}" for line in lines]
    return f"const {declaration} = {{\n    " + ",\n    ".join(lines) + "};\n"


def _defines(values: dict[str, int | str]) -> str:
    """`#define` lines."""
    return "".join(f"#define {name} {value}\n" for name, value in values.items())


def vectors(program: Program, samples: Tensor | SpikeTimes) -> tuple[str, str, float]:
    """The texts of fs_vectors.h and fs_vectors.c for V samples, and the mean of operations; hashes are of all membranes."""
    ran, layers = run(program, samples, trace=len(samples)), range(len(program.layers))
    trace = np.concatenate([ran.trace[f"membrane.{n}"] for n in layers], 2)
    operations = ran.count("delivered").sum(1)
    tables = {
        "uint8_t fs_vector_inputs[FS_VECTORS][FS_SOURCES]": ran.trace["input_times"],
        "uint8_t fs_vector_times[FS_VECTORS][FS_NEURONS]": np.concatenate([ran.trace[f"times.{n}"] for n in layers], 1),
        "uint32_t fs_vector_hashes[FS_VECTORS]": np.array([_hash(sample) for sample in trace], np.uint32),
        "int32_t fs_vector_classes[FS_VECTORS]": ran.predictions,
        "uint32_t fs_vector_operations[FS_VECTORS]": operations,
    }
    pixels = isinstance(samples, Tensor) and samples.dtype == torch.uint8 and pixel_times(program) is not None
    if pixels:
        order = program.in_source_order(samples)  # type: ignore[arg-type]
        tables = {"uint8_t fs_vector_pixels[FS_VECTORS][FS_SOURCES]": order, **tables}
    header = (
        "/* Test vectors; written by firstspike. */\n#ifndef FS_VECTORS_H\n#define FS_VECTORS_H\n\n"
        + _defines({"FS_VECTORS": len(trace), "FS_VECTOR_PIXELS": int(pixels)})
        + '\n#include "fs_network.h"\n\n'
        + "".join(f"extern const {name};\n" for name in tables)
        + "\n#endif\n"
    )
    texts = [_array(name, values) for name, values in tables.items()]
    return header, "\n".join(['#include "fs_vectors.h"\n', *texts]), float(operations.mean())


def _hash(trace: NDArray[np.int64]) -> int:
    """hash * 0x9E3779B1 + word from 1 on, over the low and the high half of every membrane, modulo 2^32 (main.c)."""
    v = trace.ravel()
    words = np.stack([v & 0xFFFFFFFF, (v >> 32) & 0xFFFFFFFF], 1).ravel().astype(np.uint32)
    powers = np.full(len(words) + 1, _FACTOR, np.uint32)
    powers[0] = 1
    powers = np.multiply.accumulate(powers, dtype=np.uint32)[::-1]
    return (int(powers[0]) + int((words * powers[1:]).sum(dtype=np.uint64))) % (1 << 32)
