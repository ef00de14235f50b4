"""Where we lose: tiny numbers of steps and tiny layers, against the dense layer, eager and compiled."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from firstspike import SpikeTimes
from firstspike import nn as fs

from .. import timing
from ..kernels import anchor
from ..nets.dense import NEURONS
from ..nets.training import without_gradient
from ..session import Session, fresh_compiler
from ..table_cells import number

TITLE = "Crossover"
STEPS = (1, 2, 8)
WIDTHS = (16, 128, 1024)
BATCHES = (1, 128)


class _DenseLayer(nn.Module):
    """One fully connected layer of neurons that fire once, over all steps."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        return NEURONS["loop"](self.linear(x))


def measure(session: Session) -> None:
    """One cell per number of steps, width, batch size and kind: one square layer, half of its inputs silent."""
    record = session.record("crossover")
    effort = timing.Effort(rounds=7, seconds=1.0, most=60, block=0.01)
    for steps, width, batch, kind in product(STEPS, WIDTHS, BATCHES, ("training", "inference")):
        times = partial(_times, session, effort, steps, width, batch, kind == "training")
        head = {"steps": steps, "width": width, "batch": batch, "kind": kind}
        record.measure(f"T{steps}-N{width}-B{batch}-{kind}", times, **head)


def _times(session: Session, effort: timing.Effort, *cell: Any) -> dict[str, Any]:
    return {"times": session.alternate(_sides(*cell, compiled=session.full), effort)}


def _sides(steps: int, width: int, batch: int, train: bool, *, compiled: bool) -> dict[str, timing.Call]:
    generator = torch.Generator().manual_seed(0)
    times = torch.randint(0, steps, (batch, width), generator=generator).to(torch.uint8)
    times[torch.rand(times.shape, generator=generator) < 0.5] = 255
    spikes = SpikeTimes(times, steps)
    ours = fs.TTFSLinear(width, width, steps=steps, affine=None, generator=generator)
    assert ours.bias is not None
    dense = _DenseLayer(ours.weight.detach(), ours.bias.detach())
    gradient = torch.randn(steps, batch, width, generator=generator)
    x = spikes.dense()
    fresh_compiler()
    sides = {"firstspike": _ours(ours, spikes, train), "dense eager": _dense(dense, x, gradient, train)}
    if compiled:
        sides["dense"] = _dense(torch.compile(dense, dynamic=False), x, gradient, train)
    return sides


def _ours(layer: fs.TTFSLinear, spikes: SpikeTimes, train: bool) -> timing.Call:
    if not train:
        return without_gradient(lambda: layer(spikes))

    def step() -> None:
        entries = anchor(layer(spikes))  # the gradient that another layer of ours would send
        entries.backward(torch.ones_like(entries, memory_format=torch.contiguous_format))

    return step


def _dense(layer: Any, x: Tensor, gradient: Tensor, train: bool) -> timing.Call:
    if not train:
        return without_gradient(lambda: layer(x))
    return lambda: layer(x).backward(gradient)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """How many times as long as ours the faster dense side takes; below 1, we lose."""
    found = []
    for kind in ("training", "inference"):
        lines = []
        for steps, width in product(STEPS, WIDTHS):
            line = {"T": f"{steps}", "layer": f"{width}-{width}"}
            for row in rows:
                if (row["kind"], row["steps"], row["width"]) == (kind, steps, width):
                    times = row["times"]
                    rival = min((s for s in times if s != "firstspike"), key=lambda side: times[side]["median"])
                    ratio = timing.speedup(times[rival]["samples"], times["firstspike"]["samples"])
                    line[f"B = {row['batch']}"] = f"{number(ratio)} ({rival})"
            if len(line) > 2:
                lines.append(line)
        caption = f"The faster dense side's time over ours, {kind} of one layer; below 1, firstspike loses"
        found.append((caption, pd.DataFrame(lines)))
    return found
