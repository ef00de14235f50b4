"""`export_c`: a program as a folder of C99 sources, with test vectors of real samples and tables for other tools."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..._base import checks
from ..._base.files import write_npz, write_text
from ...spikes import SpikeTimes
from ..program.program import Program
from ..program.serialization import take_apart
from . import arguments
from .form import Form
from .steps import Steps
from .windowed import Windowed

FORMS: dict[str, type[Form]] = {"step": Steps, "windowed": Windowed}
_OF_KIND = ("fs_core.h", "fs_core.c")
_SHARED = ("fs_common.h", "main.c", "Makefile", "README.txt")


@dataclass(frozen=True)
class Exported:
    """The files of an export and their sizes.

    Parameters
    ----------
    files : their paths.
    table_bytes : constant tables.
    state_bytes : RAM, without padding.
    macs : multiply-adds of pixels per sample.
    operations_per_sample : synaptic operations, mean over the test vectors, None without.
    integer_bits : 32 or 64.
    encoder : True if C takes pixels.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8))
    >>> emulator.export_c(program, "sizes").integer_bits
    32
    """

    files: list[Path]
    table_bytes: int
    state_bytes: int
    macs: int
    operations_per_sample: float | None
    integer_bits: int
    encoder: bool

    def text(self) -> str:
        """The figures, one per line."""
        operations = "unknown" if self.operations_per_sample is None else f"{self.operations_per_sample:.1f}"
        return (
            f"flash: {self.table_bytes} bytes of tables\nRAM: {self.state_bytes} bytes of state\n"
            f"operations per sample: {self.macs} multiply-adds of pixels, {operations} synaptic\n"
        )


def export_c(
    program: Program,
    directory: str | os.PathLike[str],
    *,
    samples: Tensor | SpikeTimes | None = None,
    without_first_layer: bool = False,
) -> Exported:
    """Write a program as C99 without floats, heap or library; `make test` in the folder compiles it and checks it.

    The C code computes the spike times, membranes and decisions of `emulator.run`, bit for bit, from pixels to class, in
    fs_run(state, pixels). A net of windows computes levels T - t and scores, in closed form; ValueError if a register could
    overflow. `network.npz` and `mem/*.mem` (one hexadecimal word per line) have the tables for other tools.

    Parameters
    ----------
    program : Program
    directory : str or os.PathLike
        Files of an earlier export are replaced or removed; a folder with another README.txt, Makefile or main.c is refused.
    samples : Tensor or SpikeTimes, optional
        Samples as `emulator.run` takes them. They become test vectors (`fs_vectors.*`, `main.c`, for `make test`).
    without_first_layer : bool
        Export a program whose first layer a host computes in float32; else that is an error. The C code takes spike times then.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8))
    >>> written = emulator.export_c(program, "chip", samples=torch.rand(3, 1, 8, 8))
    >>> "fs_network.c" in [path.name for path in written.files]
    True
    """
    checks.instance("program", program, Program, "a Program")
    if program.encoder.weight is not None and not checks.boolean("without_first_layer", without_first_layer):
        raise ValueError(
            "program must hold the whole net, but a host computes its first layer in float32; "
            "quantize with first_layer='integers', or pass without_first_layer=True"
        )
    folder = arguments.folder(directory, ("README.txt", "Makefile", "main.c"), "fs_network.h")
    form = FORMS[program.timing](program)
    vectors = None if samples is None else form.vectors(arguments.samples(samples))
    operations = None if vectors is None else vectors[2]
    texts = {"fs_network.h": form.header(operations), "fs_network.c": form.source()}
    fixed = resources.files(__package__)
    for name in (*_OF_KIND, *_SHARED):
        if samples is not None or name != "main.c":
            part = form.folder if name in _OF_KIND else "c"
            texts[name] = fixed.joinpath(part, name).read_text(encoding="utf-8")
    if vectors is not None:
        texts["fs_vectors.h"], texts["fs_vectors.c"], _ = vectors
    header, arrays = take_apart(program)
    for n, layer in enumerate(program.layers):
        stored = dict(zip(("weight", "shortcut"), (part.weight for part in layer.inputs), strict=False))
        stored |= {name: getattr(layer.neuron, name) for name in ("theta", "bias", "rise") if hasattr(layer.neuron, name)}
        texts |= {f"mem/layer.{n}.{name}.mem": _words(values) for name, values in stored.items()}
    for earlier in (*folder.glob("fs_vectors.*"), *(folder / "mem").glob("layer.*.mem")):
        if earlier.name == "fs_vectors.h":
            (folder / "main.c").unlink(missing_ok=True)
        earlier.unlink()
    files = [write_text(folder / name, text) for name, text in texts.items()]
    files.append(write_npz(folder / "network.npz", {"header": np.array(json.dumps(header)), **arrays}))
    macs = 0 if program.pixels is None else program.pixels.synapses
    return Exported(files, *form.sizes(), macs, operations, 8 * form.integer, form.images is not None)


def _words(values: NDArray[np.integer]) -> str:
    """A table as `$readmemh` of Verilog reads it: one word per line, two's complement, in the order of the array."""
    flat = values.astype(np.int64).ravel()
    most = max(-int(flat.min(initial=0)) - 1, int(flat.max(initial=0)))
    digits = -(-(most.bit_length() + 1) // 4)
    mask = (1 << 4 * digits) - 1
    lines = [f"{int(value) & mask:0{digits}x}" for value in flat]
    return f"// {len(lines)} words of {4 * digits} bits, two's complement\n" + "\n".join(lines) + "\n"
