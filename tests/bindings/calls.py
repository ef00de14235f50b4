"""Good calls of every bound function of the CPU kernels: what the operators pass for their samples, and layers by hand."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from firstspike import explain, functional, nn
from firstspike._base import kernels
from firstspike._base.geometry import Geometry
from firstspike._base.kernels import cpu

from ..ops.test_opcheck import SAMPLES, run_layer
from ..samples import layer
from .draws import Draw, as_given

Arguments = dict[str, Any]


def bound() -> set[str]:
    """The functions of the CPU module that Python can call."""
    return {name for name in dir(cpu) if callable(getattr(cpu, name)) and not name.startswith("_")}


@cache
def recorded() -> dict[str, list[Arguments]]:
    """By kernel, the arguments of its calls by name, with tensors in place of capsules: of samples, and of random layers."""
    calls: dict[str, list[Arguments]] = defaultdict(list)

    def noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        names = re.findall(r"(\w+): ", (function.__doc__ or "").partition(" -> ")[0])

        def call(*given: Any) -> Any:
            arguments = opened(given)
            calls[name].append(copied(dict(zip(names, arguments, strict=False))))
            return function(*as_given(arguments))

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in bound() - {"IntegerNet", "Prepacked"}:
            patch.setattr(cpu, name, noting(name, getattr(cpu, name)))
        for run in SAMPLES.values():
            run()
        for seed in range(40):
            run_random_layer(Draw(seed))
        explain(nn.TTFSLinear(5, 3, steps=4), (2, 5))
        cpu.empty(10_000)
        cpu.share_openmp_pool(kernels._POOL)
    return calls


def opened(value: Any) -> Any:
    """Capsules as tensors, in tuples as well."""
    if type(value).__name__ == "PyCapsule":
        return torch.from_dlpack(value)
    return tuple(map(opened, value)) if isinstance(value, tuple | list) else value


def copied(arguments: Arguments) -> Arguments:
    """The same with tensors of their own."""
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, arguments)


def run_random_layer(draw: Draw) -> None:
    """Forward and backward, with a record and without."""
    g = geometry(draw)
    inputs = (g.batch, g.channels, g.height, g.width)
    if (g.kernel_height, g.kernel_width) == (g.height // g.pool, g.width // g.pool) and not g.pad_y + g.pad_x:
        fan_in = g.channels * g.kernel_height * g.kernel_width
        run_layer(functional.linear, layer(inputs, (g.outputs, fan_in), g.steps, avg_pool=g.pool))
        return
    sizes = {"stride": (g.stride_y, g.stride_x), "padding": (g.pad_y, g.pad_x), "avg_pool": g.pool}
    kernel = (g.outputs, g.channels, g.kernel_height, g.kernel_width)
    run_layer(functional.conv2d, layer(inputs, kernel, g.steps, **sizes))


def geometry(draw: Draw) -> Geometry:
    """A linear layer or a convolution, pooled or not."""
    batch, height, width, channels = draw.randint(0, 3), draw.size(6), draw.size(6), draw.choice((1, 3, 16, 40, 70))
    pool = draw.randint(1, min(height, width, 3))
    outputs, steps = draw.choice((1, 3, 16, 33, 70)), draw.steps()
    cells_y, cells_x = height // pool, width // pool
    if draw.some(0.4):
        return Geometry(batch, height, width, channels, pool, cells_y, cells_x, 1, 1, 0, 0, outputs, steps)
    pad_y, pad_x = draw.randint(0, 2), draw.randint(0, 2)
    kernel_y, kernel_x = draw.randint(1, min(5, cells_y + 2 * pad_y)), draw.randint(1, min(5, cells_x + 2 * pad_x))
    strides = draw.randint(1, 2), draw.randint(1, 2)
    return Geometry(batch, height, width, channels, pool, kernel_y, kernel_x, *strides, pad_y, pad_x, outputs, steps)


def weight(draw: Draw, g: Geometry) -> Tensor:
    """In one of the layouts that layers have."""
    x = draw.floats(g.outputs, g.channels, g.kernel_height, g.kernel_width)
    return draw.choice((x, x.flatten(1), x.contiguous(memory_format=torch.channels_last)))


def bias(draw: Draw, outputs: int) -> Tensor | None:
    """Or none."""
    return draw.floats(outputs) if draw.some(0.5) else None


def prepacked(draw: Draw) -> tuple[Arguments, Arguments]:
    """The arguments of the constructor and of `run`: one layer, or a linear one behind it."""
    g = geometry(draw)
    layers = [(tuple(g), draw.neuron(), draw.some(0.7), weight(draw, g), bias(draw, g.outputs))]
    _, height, width, channels = g.out_shape
    if layers[0][2] and draw.some(0.5):
        g = Geometry(g.batch, height, width, channels, 1, height, width, 1, 1, 0, 0, draw.size(40), g.steps)
        layers.append((tuple(g), draw.neuron(), draw.some(0.7), weight(draw, g), bias(draw, g.outputs)))
    first, last = Geometry(*layers[0][0]), g._replace(batch=draw.randint(0, 3))
    times = draw.times(last.batch, first.height, first.width, first.channels, steps=first.steps)
    fires = layers[-1][2]
    out = torch.zeros(last.out_shape, dtype=torch.uint8) if fires else torch.zeros(last.steps, *last.out_shape)
    run = {"batch": last.batch, "times": times, "threads": draw.threads(), "out": out}
    return {"layers": layers, "threads": draw.threads()}, run


def integers(draw: Draw) -> tuple[Arguments, Arguments]:
    """The arguments of `IntegerNet`'s constructor and of `run`: a layer of any kind, and a readout of both maps."""
    height, width, channels = draw.size(6), draw.size(6), draw.choice((1, 3, 16, 40))
    pad_y, pad_x, stride = draw.randint(0, 2), draw.randint(0, 2), draw.randint(1, 2)
    kind = draw.choice(("dense", "depthwise", "largest"))
    pool = 1 if kind == "largest" else draw.randint(1, min(height, width, 3))
    high, wide = height // pool + 2 * pad_y, width // pool + 2 * pad_x
    kernel_y, kernel_x = draw.randint(1, min(3, high)), draw.randint(1, min(3, wide))
    outputs = draw.choice((1, 7, 33)) if kind == "dense" else channels
    out = (high - kernel_y) // stride + 1, (wide - kernel_x) // stride + 1, outputs
    rows = kernel_y * kernel_x * (channels if kind == "dense" else 1)
    most = draw.choice((100, 1000))

    generator = torch.Generator().manual_seed(draw.getrandbits(32))

    def whole(*shape: int, kind: torch.dtype = torch.int16, low: int = -most) -> Tensor:
        return torch.randint(low, most, shape, dtype=kind, generator=generator)

    inner = {"dense": whole(outputs, rows), "depthwise": whole(rows, outputs), "largest": whole(0)}[kind]
    neurons = 0 if kind == "largest" else outputs
    numbers = whole(neurons, kind=torch.int32), whole(neurons, kind=torch.int32, low=1)
    taps = [(-1, pool, kernel_y, kernel_x, stride, stride, pad_y, pad_x)]
    layer = (kind, draw.choice((1, 16, 255)), draw.randint(0, 3), out, taps, inner, *numbers)
    sides = [(0, 1, out[0], out[1], 1, 1, 0, 0), (-1, 1, height, width, 1, 1, 0, 0)][: draw.randint(1, 2)]
    read = math.prod(out) + (height * width * channels if len(sides) == 2 else 0)
    last = ("dense", 0, 0, (1, 1, 10), sides, whole(10, read), whole(10, kind=torch.int32), whole(0, kind=torch.int32))
    batch = draw.randint(0, 40)
    sums = torch.zeros(batch, 10, dtype=torch.int32)
    levels = draw.bytes(batch, height, width, channels)
    run = {"batch": batch, "levels": levels, "threads": draw.threads(), "sums_out": sums}
    return {"input": (height, width, channels), "layers": [layer, last]}, run
