"""How near each kernel comes to what the machine can do: additions counted from real spikes, against measured peaks.

The kernels are called through their bindings (`benchmarks.kernels`), so no time in Python or torch counts.

The limit of a kernel is the longest of three times: its additions at the peak rate of additions; its operands (4 bytes
per addition) at the read bandwidth of the cache that holds the weights in use at a time; and what must cross the memory
bus once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from tools.provenance import caches
from torch import Tensor

from firstspike import SpikeTimes
from firstspike._base.kernels import cpu
from firstspike.nn import TTFSConv2d, TTFSLinear
from firstspike.spikes import Support

from .. import counts, inputs, probe, timing
from ..kernels import Layer, LayerKernels
from ..nets.ours import Ours
from ..records import timed
from ..session import Session
from ..table_cells import number
from ..workloads import WORKLOADS, Workload

TITLE = "Kernels against the machine's limit"
PEAKS = "peaks"
#: Samples whose rows of D a linear layer's dL/dW goes through together (cpp/cpu).
LINE = 32


def measure(session: Session) -> None:
    """The peaks of the machine, then one cell per net, layer, number of steps, and kernel."""
    record = session.record("limit")
    machine = record.get(PEAKS)  # a session that is resumed keeps the peaks that its cells have their limits from
    if machine is None:
        session.log("limit: peaks of the machine")
        levels = caches()
        machine = {"peaks": probe.limits(session.threads, levels), "caches": levels}
        record.add(PEAKS, **machine)
    peaks, levels = machine["peaks"], machine["caches"]
    for workload in WORKLOADS if session.full else WORKLOADS[:2]:
        for steps in workload.steps if session.full else (8,):
            session.log(f"limit {workload.name} T={steps}")
            for index, kernels in enumerate(_layers(workload, steps)):
                for kernel, make in KERNELS.items():
                    cell = f"{workload.name}-T{steps}-{index}-{kernel}"
                    if record.has(cell) or (kernel == "ds" and not index):
                        continue
                    call, done = make(kernels)
                    samples = session.alternate({kernel: call})
                    record.add(
                        cell,
                        work=workload.name,
                        steps=steps,
                        batch=workload.batch,
                        layer=_describe(kernels.layer),
                        kernel=kernel,
                        times=timed(samples),
                        **done,
                        **bound(done, peaks, levels),
                    )


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


def _forward(kernels: LayerKernels) -> tuple[timing.Call, dict[str, int]]:
    """The forward pass with its record of the support, as in training."""
    layer, x, y = kernels.layer, kernels.x, kernels.output
    shape, reached = _shape(layer, x), _reached(layer, x)
    last = counts.last_needed(_map(y.times), y.steps, cpu.tile)
    return (
        kernels.forward(),
        {
            "additions": counts.additions(reached, last, shape.outputs, cpu.tile),
            "multiplies": 0,
            "bytes": x.times.numel() + y.times.numel() + 4 * layer.weight.numel() + _support_bytes(y),
            "tile_bytes": 4 * (shape.channels if _by_taps(layer) else shape.rows) * min(cpu.tile, shape.outputs),
        },
    )


def _weight_gradient(kernels: LayerKernels) -> tuple[timing.Call, dict[str, int]]:
    """dL/dW. Its operands are rows of D: those of a site in a convolution, those of a line of samples in a linear layer."""
    layer, x, y = kernels.layer, kernels.x, kernels.output
    shape, reached, support = _shape(layer, x), _reached(layer, x), _support(y)
    last = counts.last_gradient(support.offset, support.place[0], _groups(reached, shape))
    rows = y.steps if _by_taps(layer) else LINE * y.steps
    return (
        kernels.weight_gradient(),
        {
            "additions": counts.additions(reached, last, shape.outputs, cpu.tile),
            "multiplies": 0,
            "bytes": x.times.numel() + 8 * layer.weight.numel() + 4 * len(support.slope) + _support_bytes(y),
            "tile_bytes": 4 * rows * min(cpu.tile, shape.outputs),
        },
    )


def _input_gradient(kernels: LayerKernels) -> tuple[timing.Call, dict[str, int]]:
    """dL/ds at the support of the layer that made the input."""
    layer, x, y = kernels.layer, kernels.x, kernels.output
    shape, reached, support = _shape(layer, x), _reached(layer, x), _support(y)
    height, width = (size // shape.pool for size in _map(x.times).shape[2:])
    products = counts.multiply_additions(support.offset, (height, width), _groups(reached, shape), shape)
    sources = shape.outputs if _by_taps(layer) else min(cpu.tile, shape.outputs)
    return (
        kernels.input_gradient(),
        {
            "additions": products,
            "multiplies": 1,
            "bytes": 4 * (layer.weight.numel() + len(support.slope)) + _support_bytes(y) + _support_bytes(x),
            "tile_bytes": 4 * sources * min(cpu.tile, shape.channels),
        },
    )


KERNELS: dict[str, Callable[[LayerKernels], tuple[timing.Call, dict[str, int]]]] = {
    "forward": _forward,
    "dW": _weight_gradient,
    "ds": _input_gradient,
}


def _layers(workload: Workload, steps: int) -> list[LayerKernels]:
    """The firing layers of the net on a real batch; all but the first input carry a support."""
    net = Ours(workload, steps)
    signal = inputs.batch("fashion-mnist", workload.batch, steps, flat=workload.flat).spikes
    found = []
    for layer in net.layers:
        if isinstance(layer, TTFSLinear | TTFSConv2d):
            output = layer(signal)
            found.append(LayerKernels(layer, signal, output))
            signal = output
    return found


def _shape(layer: Layer, x: SpikeTimes) -> counts.Shape:
    _, channels, height, width = _map(x.times).shape
    if isinstance(layer, TTFSConv2d):
        return counts.Shape(
            channels, layer.out_channels, layer.kernel_size, layer.avg_pool, layer.stride[0], layer.padding[0]
        )
    return counts.Shape(
        channels, layer.out_features, (height // layer.avg_pool, width // layer.avg_pool), layer.avg_pool
    )


def _reached(layer: Layer, x: SpikeTimes) -> Tensor:
    return counts.events(_map(x.times), x.steps, _shape(layer, x))


def _by_taps(layer: Layer) -> bool:
    """Whether one tap of the kernel is taken after another, so that one tap's weights are in use at a time."""
    return isinstance(layer, TTFSConv2d)


def _groups(reached: Tensor, shape: counts.Shape) -> tuple[int, ...]:
    return (*reached.shape[:3], len(counts.tiles(shape.outputs, cpu.tile)))


def _support_bytes(spikes: SpikeTimes) -> int:
    return sum(part.numel() * part.element_size() for part in _support(spikes))


def _support(spikes: SpikeTimes) -> Support:
    assert spikes._support is not None
    return spikes._support


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
            machine_rows += [
                {"peak": "additions", "G/s": number(peaks["add"] / 1e9), "working set, KiB": "–"},
                {"peak": "multiply-additions", "G/s": number(peaks["multiply_add"] / 1e9), "working set, KiB": "–"},
            ]
            for level, peak in peaks.items():
                if isinstance(peak, dict):
                    size = f"{peak['bytes'] // 1024}"
                    machine_rows += [
                        {"peak": f"bytes read, {level}", "G/s": number(peak["read"] / 1e9), "working set, KiB": size},
                        {
                            "peak": f"bytes read and added, {level}",
                            "G/s": number(peak["read_and_add"] / 1e9),
                            "working set, KiB": size,
                        },
                    ]
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
