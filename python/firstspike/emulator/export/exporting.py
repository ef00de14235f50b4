"""`export_c`: a program as a folder of C99 sources, with test vectors and tables for other tools."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor

from ..._base import checks
from ..._base.files import write_text
from ...spikes import SpikeTimes
from ..program.program import Program
from . import c_network, c_vectors
from .memory_images import write_mem, write_npz

_FIXED = ("fs_core.h", "fs_core.c", "main.c", "Makefile", "README.txt")


@dataclass(frozen=True)
class Exported:
    """What was written.

    files: their paths. table_bytes: constant tables, which may lie in flash. state_bytes: RAM, without the compiler's
    padding. operations_per_sample: synaptic operations, mean over the test vectors, None without. integer_bits: 32
    or 64. encoder: whether the C code encodes pixels itself.

    Examples:
        >>> import tempfile
        >>> program = emulator.quantize(models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8))
        >>> written = emulator.export_c(program, tempfile.mkdtemp())
        >>> written.integer_bits, sorted(path.name for path in written.files)[:3]
        (32, ['Makefile', 'README.txt', 'fs_core.c'])
    """

    files: list[Path]
    table_bytes: int
    state_bytes: int
    operations_per_sample: float | None
    integer_bits: int
    encoder: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self) | {"files": [str(path) for path in self.files]}

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

    The C code computes the spike times, membranes and decisions of `emulator.run`, bit for bit. Written are `fs_core.h`
    and `fs_core.c` (the interpreter), `fs_network.*` (the tables, all const), `README.txt`, `Makefile`, and for other
    tools `network.npz` and `mem/*.mem` (one hexadecimal word per line).

    directory: is made; the files of an earlier export are replaced or removed, and a folder with a README.txt, Makefile or
    main.c of another origin is refused. samples: images or
    SpikeTimes of some samples, as `emulator.run` takes them; they become test vectors (`fs_vectors.*`, `main.c`, for
    `make test`).

    The encoder is part of the C code where it is a table of pixels: latency coding without normalisation by mean and
    std. A directly coded first layer computes in float32; then the C code takes the spike times that this layer sends.
    Raises ValueError or TypeError naming a bad argument, and OSError where the folder cannot be written.

    Examples:
        >>> program = emulator.quantize(models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8))
        >>> written = emulator.export_c(program, "chip", samples=torch.rand(3, 1, 8, 8))
        >>> "fs_network.c" in [path.name for path in written.files]
        True
    """
    checks.instance("program", program, Program, "a Program")
    folder = checks.path("directory", directory)
    refuse_others(folder)
    if samples is not None:
        checks.batch("samples", samples, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
        if not len(samples):
            raise ValueError("samples must hold at least one sample, or be None for no test vectors")
    texts = {"fs_network.h": c_network.header(program), "fs_network.c": c_network.source(program)}
    fixed = resources.files(__package__).joinpath("c")
    for name in _FIXED:
        if samples is not None or name != "main.c":
            texts[name] = fixed.joinpath(name).read_text(encoding="utf-8")
    operations = None
    if samples is not None:
        made = c_vectors.vectors(program, samples)
        texts["fs_vectors.h"], texts["fs_vectors.c"] = c_vectors.header(made), c_vectors.source(made)
        operations = float(made.operations.mean())
    files = [write_text(folder / name, text) for name, text in texts.items()]
    files += [write_npz(program, folder / "network.npz"), *write_mem(program, folder / "mem")]
    _remove_leftovers(folder, files, fixed.joinpath("main.c").read_bytes())
    sizes = c_network.sizes(program)
    return Exported(
        files,
        sizes.table_bytes,
        sizes.state_bytes,
        operations,
        64 if c_network.is_wide(program) else 32,
        c_network.pixel_times(program) is not None,
    )


def refuse_others(folder: Path) -> None:
    """Raise ValueError for a folder with files of ours and of another origin by the same names."""
    own = [name for name in ("README.txt", "Makefile", "main.c") if (folder / name).exists()]
    if own and not (folder / "fs_network.h").exists():
        raise ValueError(
            f"directory must be new, or of an earlier export, but {folder} has {', '.join(own)} of another origin; name a "
            "subfolder"
        )


def _remove_leftovers(folder: Path, written: list[Path], main: bytes) -> None:
    """Remove what an earlier export into the folder wrote and this one did not: other vectors, and tables of more layers."""
    earlier = [folder / "fs_vectors.h", folder / "fs_vectors.c", *(folder / "mem").glob("layer.*.mem")]
    if (folder / "main.c").is_file() and (folder / "main.c").read_bytes() == main:
        earlier.append(folder / "main.c")  # not one of the user's own
    for path in earlier:
        if path not in written:
            path.unlink(missing_ok=True)
