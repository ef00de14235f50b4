"""`export_rtl`: a net of windows as a core in SystemVerilog, with its tables, test vectors and a Makefile."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..reporting.run import run
from .layout import Layout
from .windowed import levels_of


def expected(layout, ran, cycles, spikes=True):
    words = []
    count = len(ran.predictions)
    words.append(count)
    for b in range(count):
        for n, stage in enumerate(layout.stages):
            if stage.layer.fires:
                if spikes:
                    levels = levels_of(np.asarray(ran.trace[f"times.{stage.number}"][b]), stage.layer.steps)
                    at = np.flatnonzero(levels) if layout.skips else np.arange(levels.size)
                    words += (levels[at].astype(np.int64) << 24 | at).tolist()
            else:
                words += [int(x) & 0xFFFFFFFF for x in ran.scores[b]]
            words += [0xFFFFFFFF, cycles[b][n]]
        words.append(int(ran.predictions[b]))
    return "".join(f"{x:x}\n" for x in words)


def dump(program, images, folder, *, lanes, clusters, multipliers=10**9, skips=True, merges=True, cycles=None):
    layout = Layout(program, lanes=lanes, clusters=clusters, skips=skips, merges=merges)
    folder = Path(folder)
    folder.mkdir(exist_ok=True, parents=True)
    sizes = layout.sizes(multipliers)
    (folder / "sizes.svh").write_text("".join(f"localparam int {k} = {v};\n" for k, v in sizes.items()))
    for name, text in layout.tables(sizes).items():
        (folder / name).write_text(text)
    ran = run(program, images, trace=len(images))
    maps = program.in_source_order(images) if images.ndim > 1 else images
    (folder / "pixels.hex").write_text("".join(f"{x:x}\n" for x in maps.ravel().tolist()))
    c = cycles or [[0] * len(layout.stages)] * len(images)
    (folder / "expected.hex").write_text(expected(layout, ran, c))
    return layout, sizes, ran
