"""How near each kernel comes to what the machine can do: additions counted from real spikes, against measured peaks.

A kernel is timed as a function of spike times, or as a gradient of it alone, with some ten microseconds of Python and torch.

The limit of a kernel is the longest of three times: its additions at the peak rate of additions; its operands (4 bytes
per addition) at the read bandwidth of the cache that holds the weights in use at a time; and the bytes that cross the
memory bus once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pandas as pd
from tools.provenance import caches
from torch import Tensor

import firstspike
from firstspike import SpikeTimes
from firstspike.nn import TTFSConv2d, TTFSLinear

from .. import counts, inputs, probe, timing
from ..kernels import Layer, LayerCalls, support
from ..nets.ours import Ours
from ..session import Session
from ..table_cells import number
from ..workloads import WORKLOADS, Workload

TITLE = "Kernels against the machine's limit"
PEAKS = "peaks"
#: Samples whose rows of D a linear layer's dL/dW goes through together (cpp/cpu).
LINE = 32
TILE: int = firstspike.backends()["cpu"]["tile"]
Made = tuple[timing.Call, dict[str, int]]


def measure(session: Session) -> None:
    """The peaks of the machine, then one cell per net, layer, number of steps, and kernel."""
    record = session.record("limit")
    # A session that is resumed keeps the peaks from which its cells have their limits.
    machine = record.measure(PEAKS, lambda: {"peaks": probe.limits(session.threads, caches()), "caches": caches()})
    for workload in WORKLOADS if session.full else WORKLOADS[:2]:
        for steps in workload.steps if session.full else (8,):
            for index, (layer, x, output) in enumerate(layers(workload, steps)):
                head = {"work": workload.name, "steps": steps, "batch": workload.batch, "layer": _describe(layer)}
                for kernel, make in KERNELS.items():
                    if index or kernel != "ds":
                        times = partial(_times, session, machine, kernel, partial(make, layer, x, output))
                        record.measure(f"{workload.name}-T{steps}-{index}-{kernel}", times, **head, kernel=kernel)


def _times(session: Session, machine: dict[str, Any], kernel: str, make: Callable[[], Made]) -> dict[str, Any]:
    call, done = make()
    limits = bound(done, machine["peaks"], machine["caches"])
    return {"times": session.alternate({kernel: call}), **done, **limits}


def bound(done: dict[str, int], peaks: dict[str, Any], caches: dict[str, int]) -> dict[str, Any]:
    """The three times in milliseconds, the binding one, and the level of memory that the operands come from."""
    level = next((name for name, size in sorted(caches.items()) if done["tile_bytes"] <= size), "memory")
    rate = peaks["multiply_add" if done["multiplies"] else "add"]
    times = {
        "arithmetic": 1e3 * done["additions"] / rate,
        f"operands from {level}": 1e3 * 4 * done["additions"] / peaks[level]["read_and_add"],
        "memory": 1e3 * done["bytes"] / peaks["memory"]["read"],
    }
    binding = max(times, key=lambda name: times[name])
    return {"limits": times, "binding": binding, "limit": times[binding]}


def _forward(layer: Layer, x: SpikeTimes, y: SpikeTimes) -> Made:
    """The forward pass with its record of the support, as in training."""
    shape, reached = _shape(layer, x), _reached(layer, x)
    last = counts.last_needed(_map(y.times), y.steps, TILE)
    return LayerCalls.of(layer, x).forward(), {
        "additions": counts.additions(reached, last, shape.outputs, TILE),
        "multiplies": 0,
        "bytes": x.times.numel() + y.times.numel() + 4 * layer.weight.numel() + _support_bytes(y),
        "tile_bytes": 4 * (shape.channels if _by_taps(layer) else shape.rows) * min(TILE, shape.outputs),
    }


def _weight_gradient(layer: Layer, x: SpikeTimes, y: SpikeTimes) -> Made:
    """dL/dW. Its operands are rows of D: of a site in a convolution, of a line of samples in a linear layer."""
    shape, reached, entries = _shape(layer, x), _reached(layer, x), support(y)
    last = counts.last_gradient(entries.offset, entries.place[0], _groups(reached, shape))
    rows = y.steps if _by_taps(layer) else LINE * y.steps
    return LayerCalls.of(layer, x).weight_gradient(), {
        "additions": counts.additions(reached, last, shape.outputs, TILE),
        "multiplies": 0,
        "bytes": x.times.numel() + 8 * layer.weight.numel() + 4 * len(entries.slope) + _support_bytes(y),
        "tile_bytes": 4 * rows * min(TILE, shape.outputs),
    }


def _input_gradient(layer: Layer, x: SpikeTimes, y: SpikeTimes) -> Made:
    """dL/ds at the support of the layer that made the input."""
    shape, reached, entries = _shape(layer, x), _reached(layer, x), support(y)
    height, width = (size // shape.pool for size in _map(x.times).shape[2:])
    sources = shape.outputs if _by_taps(layer) else min(TILE, shape.outputs)
    return LayerCalls.of(layer, x).input_gradient(), {
        "additions": counts.multiply_additions(entries.offset, (height, width), _groups(reached, shape), shape),
        "multiplies": 1,
        "bytes": 4 * (layer.weight.numel() + len(entries.slope)) + _support_bytes(y) + _support_bytes(x),
        "tile_bytes": 4 * sources * min(TILE, shape.channels),
    }


KERNELS: dict[str, Callable[[Layer, SpikeTimes, SpikeTimes], Made]] = {
    "forward": _forward,
    "dW": _weight_gradient,
    "ds": _input_gradient,
}


def layers(workload: Workload, steps: int) -> Iterator[tuple[Layer, SpikeTimes, SpikeTimes]]:
    """The firing layers of the net with their input and output on a real batch; all but the first input carry a support."""
    signal = inputs.batch("fashion-mnist", workload.batch, steps, flat=workload.flat).spikes
    for layer in Ours(workload, steps).layers:
        if isinstance(layer, TTFSLinear | TTFSConv2d):
            output = layer(signal)
            yield layer, signal, output
            signal = output


def _shape(layer: Layer, x: SpikeTimes) -> counts.Shape:
    _, channels, height, width = _map(x.times).shape
    pool = layer.avg_pool
    if isinstance(layer, TTFSConv2d):
        stride, padding = layer.stride[0], layer.padding[0]
        return counts.Shape(channels, layer.out_channels, layer.kernel_size, pool, stride, padding)
    return counts.Shape(channels, layer.out_features, (height // pool, width // pool), pool)


def _reached(layer: Layer, x: SpikeTimes) -> Tensor:
    return counts.events(_map(x.times), x.steps, _shape(layer, x))


def _by_taps(layer: Layer) -> bool:
    """Whether one tap of the kernel is taken after another, so that one tap's weights are in use at a time."""
    return isinstance(layer, TTFSConv2d)


def _groups(reached: Tensor, shape: counts.Shape) -> tuple[int, ...]:
    return (*reached.shape[:3], len(counts.tiles(shape.outputs, TILE)))


def _support_bytes(spikes: SpikeTimes) -> int:
    return sum(part.numel() * part.element_size() for part in support(spikes))


def _map(times: Tensor) -> Tensor:
    return times if times.dim() == 4 else times[..., None, None]


def _describe(layer: Layer) -> str:
    pool = f"AP{layer.avg_pool}-" if layer.avg_pool > 1 else ""
    if isinstance(layer, TTFSConv2d):
        return f"{pool}conv {layer.in_channels}-{layer.out_channels}"
    return f"{pool}linear {layer.in_features}-{layer.out_features}"


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """The machine's peaks; then each kernel's time, its limit, and the share that it reaches (target: 60 %)."""
    machine_rows, lines = [], []
    for row in rows:
        if row["cell"] == PEAKS:
            peaks = row["peaks"]
            measured = [("additions", peaks["add"], "–"), ("multiply-additions", peaks["multiply_add"], "–")]
            for level, peak in peaks.items():
                if isinstance(peak, dict):
                    size = f"{peak['bytes'] // 1024}"
                    measured.append((f"bytes read, {level}", peak["read"], size))
                    measured.append((f"bytes read and added, {level}", peak["read_and_add"], size))
            machine_rows += [{"peak": name, "G/s": number(rate / 1e9), "working set, KiB": size} for name, rate, size in measured]
            continue
        time = row["times"][row["kernel"]]
        lines.append(
            {
                "net": row["work"],
                "T": row["steps"],
                "layer": row["layer"],
                "kernel": row["kernel"],
                "additions, M": number(row["additions"] / 1e6),
                "ms": number(time["median"]),
                "G additions/s": number(row["additions"] / time["median"] / 1e6),
                "limit, ms": number(row["limit"]),
                "bound by": row["binding"],
                "of the limit": f"{100 * row['limit'] / time['median']:.0f} %",
            }
        )
    return [
        ("Peaks of this machine, all threads together", pd.DataFrame(machine_rows)),
        ("Kernels, Fashion-MNIST", pd.DataFrame(lines)),
    ]
