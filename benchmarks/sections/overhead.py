"""What a layer call costs at a batch of one, for a single neuron and for more: eager, and under torch.compile."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from firstspike import SpikeTimes, functional
from firstspike import nn as fs

from .. import timing
from ..nets.training import without_gradient
from ..records import recording_failures
from ..session import Session, fresh_compiler

TITLE = "Overhead of a call"
STEPS = 8
SIZES = (1, 16, 400)
#: Layers of the deeper compiled net; the difference to the net of one layer is the cost of further layers.
DEEP = 9


def measure(session: Session) -> None:
    """One cell per layer size: functional call and module, with and without a gradient, and compiled."""
    record = session.record("overhead")
    for size in SIZES:
        record.measure(f"linear-{size}", partial(_times, session, size), size=size, steps=STEPS, deep=DEEP)


def _times(session: Session, size: int) -> dict[str, Any]:
    sides, failures = calls(size)
    return {"times": session.alternate(sides), "failures": failures}


def calls(size: int) -> tuple[dict[str, timing.Call], dict[str, str]]:
    """The calls of each side, and why a side has none."""
    generator = torch.Generator().manual_seed(0)
    spikes = SpikeTimes(torch.randint(0, STEPS, (1, size), generator=generator).to(torch.uint8), STEPS)
    layers = [fs.TTFSLinear(size, size, steps=STEPS, affine=None, generator=generator) for _ in range(DEEP)]
    layer, weight, bias = layers[0], layers[0].weight, layers[0].bias
    sides: dict[str, timing.Call] = {
        "functional": without_gradient(lambda: functional.linear(spikes, weight, bias)),
        "functional, recording": lambda: functional.linear(spikes, weight, bias),
        "module": without_gradient(lambda: layer(spikes)),
        "module, recording": lambda: layer(spikes),
    }
    failures: dict[str, str] = {}
    fresh_compiler()
    for depth in (1, DEEP):
        side = f"compiled, {depth}"
        with recording_failures(failures, side):
            call = without_gradient(partial(torch.compile(_Chain(layers[:depth]), fullgraph=True), spikes.times))
            call()
            sides[side] = call
    return sides, failures


class _Chain(nn.Module):
    """Layers in a row, from bytes to bytes."""

    def __init__(self, layers: list[fs.TTFSLinear]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, times: Tensor) -> Tensor:
        spikes = SpikeTimes(times, STEPS)
        for layer in self.layers:
            spikes = layer(spikes)
        return spikes.times


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Microseconds of a call, and of one more layer within a compiled graph.

    Rows that have the time of the kernel alone, called through its binding, show the time beyond it (target: 40).
    """
    lines = []
    for row in rows:
        times = {side: 1e3 * time["median"] for side, time in row["times"].items()}
        alone = "kernel" in times
        kernel, recording = times.get("kernel", 0.0), times.get("kernel, recording", 0.0)
        line = {"layer": f"linear {row['size']}-{row['size']}"} | ({"kernel, µs": f"{kernel:.1f}"} if alone else {})
        for side in ("functional", "module"):
            line[f"{side}, beyond the kernel" if alone else side] = f"{times[side] - kernel:.1f}"
        for side in ("functional, recording", "module, recording"):
            if side in times:  # older records have no recording module
                line[f"{side}, beyond" if alone else side] = f"{times[side] - recording:.1f}"
        deep = f"compiled, {row['deep']}"
        if deep in times and "compiled, 1" in times:
            each, beyond = (times[deep] - times["compiled, 1"]) / (row["deep"] - 1), ", beyond" * alone
            line[f"compiled: the first layer{beyond}"] = f"{times['compiled, 1'] - kernel:.1f}"
            line[f"compiled: each further layer{beyond}"] = f"{each - kernel:.1f}"
        lines.append(line)
    return [("Microseconds at B = 1", pd.DataFrame(lines).fillna("–"))]
