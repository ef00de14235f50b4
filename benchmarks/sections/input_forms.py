"""The ways in which spikes come into a net: bytes that are there, events of a camera, and a dense train."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstspike import SpikeTimes, encode

from .. import inputs, timing
from ..nets import training_step
from ..nets.ours import Ours
from ..session import Session
from ..table_cells import milliseconds, ratio
from ..workloads import CNN

TITLE = "Forms of the input"
STEPS = 8
BYTES, EVENTS, DENSE = "bytes", "events", "dense train"


def measure(session: Session) -> None:
    """One cell: a training step of the convolutional net, the input made anew in each."""
    head = {"work": CNN.name, "steps": STEPS, "batch": CNN.batch}
    session.record("input_forms").measure(f"{CNN.name}-T{STEPS}", lambda: _times(session), **head)


def _times(session: Session) -> dict[str, Any]:
    batch = inputs.batch("fashion-mnist", CNN.batch, STEPS, flat=False)
    samples = [events_of(batch.spikes.times[i : i + 1]) for i in range(CNN.batch)]
    dense = batch.dense
    makers: dict[str, Any] = {
        BYTES: lambda: SpikeTimes(batch.spikes.times, STEPS),
        EVENTS: lambda: spikes_of(samples),
        DENSE: lambda: SpikeTimes.from_dense(dense),
    }
    net = Ours(CNN, STEPS)
    calls: dict[str, timing.Call] = {}
    for side, make in makers.items():
        calls[side] = training_step(_Fed(net, make), None, batch.labels)
        calls[f"{side}, making alone"] = make
    return {"times": session.alternate(calls)}


class _Fed(torch.nn.Module):
    """A net whose input is made in each forward pass."""

    def __init__(self, net: torch.nn.Module, make: Any) -> None:
        super().__init__()
        self.net, self.make = net, make

    def forward(self, _: object) -> Tensor:
        scores: Tensor = self.net(self.make())
        return scores


def events_of(times: Tensor) -> NDArray[Any]:
    """One sample's spikes [1, 1, H, W] as a camera gives them: structured x, y, t, p, in the order of their times."""
    _, _, y, x = (times < STEPS).nonzero(as_tuple=True)
    at = times[0, 0, y, x]
    order = at.argsort(stable=True)
    events = np.zeros(len(order), dtype=[("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "<i1")])
    for name, values in (("x", x[order]), ("y", y[order]), ("t", 1000 * at[order].long())):
        events[name] = values.numpy()
    return events


def spikes_of(samples: list[NDArray[Any]]) -> SpikeTimes:
    """A batch of samples' events as spike times."""
    made = [encode.first_events(events, (28, 28, 1), STEPS, window=(0.0, 1000.0 * STEPS)) for events in samples]
    return SpikeTimes(torch.cat([spikes.times for spikes in made]), STEPS)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Milliseconds of a training step from each form, and of making the spikes alone."""
    lines = [
        {
            "net": row["work"],
            "batch": row["batch"],
            "input": side,
            "training step, ms": milliseconds(row["times"], side),
            "times as long as from bytes": ratio(row["times"], side, BYTES),
            "making the spikes alone, ms": milliseconds(row["times"], f"{side}, making alone"),
        }
        for row in rows
        for side in (BYTES, EVENTS, DENSE)
    ]
    return [(f"Training step by the form of its input, T = {STEPS}, median (quartiles)", pd.DataFrame(lines))]
