"""What a layer call costs beyond its kernel, at a batch of one: eager, and under torch.compile."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from firstspike import SpikeTimes, functional
from firstspike import nn as fs
from firstspike._base.kernels import cpu
from firstspike.functional import layer as layer_call
from firstspike.ops._support import array
from firstspike.surrogate import triangle

from .. import timing
from ..nets.training import without_gradient
from ..records import recording_failures, timed
from ..session import Session, fresh_compiler

TITLE = "Overhead of a call"
STEPS = 8
SIZES = (16, 400)
#: Layers of the deeper compiled net; the difference to the net of one layer is what further layers cost.
DEEP = 9


def measure(session: Session) -> None:
    """One cell per layer size: kernel, functional call with and without a gradient, module, compiled."""
    record = session.record("overhead")
    for size in SIZES:
        cell = f"linear-{size}"
        if record.has(cell):
            continue
        session.log(f"overhead {cell}")
        sides, failures = _sides(size)
        record.add(
            cell,
            size=size,
            steps=STEPS,
            deep=DEEP,
            failures=failures,
            times=timed(session.alternate(sides)),
        )


def _sides(size: int) -> tuple[dict[str, timing.Call], dict[str, str]]:
    generator = torch.Generator().manual_seed(0)
    spikes = SpikeTimes(torch.randint(0, STEPS, (1, size), generator=generator).to(torch.uint8), STEPS)
    layers = [fs.TTFSLinear(size, size, steps=STEPS, affine=None, generator=generator) for _ in range(DEEP)]
    weight, bias = layers[0].weight, layers[0].bias
    assert bias is not None
    fired = torch.empty((1, 1, 1, size), dtype=torch.uint8)
    sides: dict[str, timing.Call] = {
        "kernel": _kernel(spikes, weight, bias, fired, record=False),
        "kernel, recording": _kernel(spikes, weight, bias, fired, record=True),
        "functional": without_gradient(lambda: functional.linear(spikes, weight, bias)),
        "functional, recording": lambda: functional.linear(spikes, weight, bias),
        "module": without_gradient(lambda: layers[0](spikes)),
        "module, recording": lambda: layers[0](spikes),
    }
    failures: dict[str, str] = {}
    fresh_compiler()
    for depth in (1, DEEP):
        side = f"compiled, {depth}"
        with recording_failures(failures, side):
            call = without_gradient(_bound(torch.compile(_Chain(layers[:depth]), fullgraph=True), spikes.times))
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


def _kernel(spikes: SpikeTimes, weight: Tensor, bias: Tensor, fired: Tensor, *, record: bool) -> timing.Call:
    """The C++ kernel through its binding, no torch between: what the call would cost if all else were free."""
    size = weight.shape[0]
    geometry = [1, 1, 1, size, 1, 1, 1, 1, 1, 0, 0, size, STEPS]
    arguments = (
        geometry,
        layer_call.neuron_of(1.0, 1.0, triangle()),
        array(spikes.times),
        array(weight),
        array(bias),
        record,
        torch.get_num_threads(),
        array(fired),
    )
    return lambda: cpu.fire_layer(*arguments)


def _bound(net: Any, x: Tensor) -> timing.Call:
    return lambda: net(x)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Microseconds beyond the kernel (target: 40), and those of one more layer within a compiled graph."""
    lines = []
    for row in rows:
        times = {side: 1e3 * time["median"] for side, time in row["times"].items()}
        line = {"layer": f"linear {row['size']}-{row['size']}", "kernel, µs": f"{times['kernel']:.1f}"}
        for side in ("functional", "module"):
            line[f"{side}, beyond the kernel"] = f"{times[side] - times['kernel']:.1f}"
        for side in ("functional, recording", "module, recording"):
            if side in times:  # older records have no recording module
                line[f"{side}, beyond"] = f"{times[side] - times['kernel, recording']:.1f}"
        deep = f"compiled, {row['deep']}"
        if deep in times and "compiled, 1" in times:
            each = (times[deep] - times["compiled, 1"]) / (row["deep"] - 1)
            line["compiled: the first layer, beyond"] = f"{times['compiled, 1'] - times['kernel']:.1f}"
            line["compiled: each further layer, beyond"] = f"{each - times['kernel']:.1f}"
        lines.append(line)
    return [("Microseconds at B = 1", pd.DataFrame(lines).fillna("–"))]
