"""`export_rtl`: a net of windows as a core in SystemVerilog: its sources, its tables, test vectors and a Makefile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, uint8

from ..._base import checks
from ..._base.files import write_text
from ...spikes import SpikeTimes
from ..program.program import Program
from . import arguments, core
from .cycles import Predictor, Work, means, sent
from .layout import Layout
from .tables import pixels_of
from .windowed import levels_of


@dataclass(frozen=True)
class ExportedRtl:
    """The files of an export and what the core needs and does.

    Parameters
    ----------
    files : their paths.
    sizes : of the core, as in sizes.svh.
    block_rams : block RAMs of 18 kbit that an ECP5 needs, an estimate.
    work : what the core does with the samples, as `emulator.cycles` returns it; None without samples.

    Examples
    --------
    >>> net = models.build("64-32-10", input_shape=(64,), steps=16, timing="windowed")
    >>> images = torch.randint(0, 256, (5, 64), dtype=torch.uint8)
    >>> written = emulator.export_rtl(emulator.quantize(net), "core", samples=images)
    >>> written.sizes["WEIGHT_ROWS"], written.block_rams
    (160, 16)
    """

    files: list[Path]
    sizes: dict[str, int]
    block_rams: int
    work: pd.DataFrame | None

    def text(self) -> str:
        """The figures, one per line."""
        lanes = self.sizes["LANES"] * self.sizes["CLUSTERS"]
        text = f"lanes: {lanes}\nblock RAMs: {self.block_rams} of 18 kbit on an ECP5\n"
        if self.work is not None:
            cycles, additions = self.work.cycles.sum(), self.work.additions.sum()
            text += f"cycles per image: {cycles:.0f}\nlanes busy: {100 * additions / (cycles * lanes):.0f} %\n"
        return text


def export_rtl(
    program: Program,
    directory: str | os.PathLike[str],
    *,
    samples: Tensor | SpikeTimes | None = None,
    lanes: int | None = None,
    clusters: int | None = None,
    multipliers: int | None = None,
    skip_silent: bool = True,
) -> ExportedRtl:
    """Write a core in SystemVerilog that computes a net of windows, from pixels to class, with open tools for Lattice ECP5.

    The sources are the same for every net; only sizes and tables are made. `make sim` in the folder runs the samples through the
    core in Verilator, and compares every spike, score, class and number of cycles with the emulator. `make synth` and `make pnr`
    need yosys and nextpnr-ecp5. docs/fpga.md describes the core.

    Parameters
    ----------
    program : Program
        Of a net of windows.
    directory : str or os.PathLike
        Files of an earlier export are replaced; a folder with another README.txt or Makefile is refused.
    samples : Tensor or SpikeTimes, optional
        Samples as `emulator.run` takes them, for `make sim`.
    lanes, clusters : int, optional
        Neurons that a cluster computes side by side, 1 to 64, and clusters, 1 to 16; by default the profile's, or 16 and 4.
    multipliers : int, optional
        How many lanes use a multiplier of the FPGA; the others add shifted weights. By default the profile's, or all.
    skip_silent : bool
        Leave silent neurons out of the lists of spikes. False: the core works like one for dense ReLU nets.

    Raises
    ------
    Refusal
        A ValueError that names the layer and what to change, for what the core cannot compute.

    Examples
    --------
    >>> net = models.build("8C3-MP2-32-10", input_shape=(1, 8, 8), steps=16, timing="windowed", pooling="earliest")
    >>> images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    >>> written = emulator.export_rtl(emulator.quantize(net), "core", samples=images, lanes=8, clusters=2)
    >>> "fs_core.sv" in [path.name for path in written.files]
    True
    """
    folder = arguments.folder(directory, ("README.txt", "Makefile"), "fs_core.sv")
    layout = Layout(program, lanes, clusters, skip_silent=skip_silent)
    sizes = core.sizes(layout, layout.fpga.multipliers if multipliers is None else checks.integer("multipliers", multipliers, 0))
    texts = {source.name: source.read_text(encoding="utf-8") for source in core.SOURCES.iterdir()}
    texts |= {"sizes.svh": sizes_text(sizes)} | core.tables(layout, sizes)
    work = None
    if samples is not None:
        hex_files, works = vectors(layout, arguments.samples(samples), sizes["STAGES"])
        texts |= hex_files
        work = means(layout, works)
    for name in ("pixels.hex", "expected.hex", "codes.mem"):
        (folder / name).unlink(missing_ok=True)
    return ExportedRtl([write_text(folder / name, text) for name, text in texts.items()], sizes, core.block_rams(sizes), work)


def sizes_text(sizes: Mapping[str, int]) -> str:
    """The text of sizes.svh."""
    return "".join(f"localparam int {name} = {value};\n" for name, value in sizes.items())


def vectors(layout: Layout, samples: Tensor | SpikeTimes, quotient_bits: int) -> tuple[dict[str, str], list[list[Work]]]:
    """The files that rtl/fs_bench.sv reads, and the work of each sample."""
    program = layout.program
    if not len(core.codes_of(layout)):  # a pixel is its level
        times = program.input_times(samples)
        pixels = levels_of(times, program.steps)
    elif isinstance(samples, Tensor):
        images = samples if samples.dtype == uint8 else (samples * 255).round().to(uint8)
        times, pixels = program.input_times(images), pixels_of(program, images)
    else:
        raise ValueError("samples must be images, as the core has a table from pixels to spikes")
    predictor = Predictor(layout, quotient_bits)
    words, works = [np.array([len(samples)], np.int64)], []
    for levels, scores in zip(*sent(layout, times), strict=True):
        works.append(predictor.work(levels))
        words += _expected(layout, levels, scores, works[-1])
    return {"pixels.hex": _hex(pixels.ravel()), "expected.hex": _hex(np.concatenate(words) & 0xFFFFFFFF)}, works


def _expected(
    layout: Layout, levels: Mapping[int, NDArray[np.uint8]], scores: NDArray[np.int64], work: list[Work]
) -> Iterator[NDArray[np.int64]]:
    """The words of one sample in expected.hex."""
    for stage, done in zip(layout.stages, work, strict=True):
        if stage.layer.fires:
            fired = levels[stage.number].ravel().astype(np.int64)
            neurons = np.flatnonzero(fired) if layout.skips else np.arange(fired.size)
            yield fired[neurons] << 24 | neurons
        else:
            yield scores
        yield np.array([0xFFFFFFFF, done.cycles], np.int64)
    yield np.array([scores.argmax()], np.int64)


def _hex(numbers: NDArray[np.integer]) -> str:
    return "\n".join(map("{:x}".format, numbers.tolist())) + "\n"
