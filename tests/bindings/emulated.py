"""Good calls of the emulator's core, with random sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from firstspike._base import _emulator

from .draws import Draw

Arguments = dict[str, Any]
Shape = tuple[int, int, int]  # height, width, channels


def register(draw: Draw) -> Arguments:
    """A register of the emulator's core."""
    bits, wrap = draw.choice((8, 16, 24, 40)), draw.some(0.5)
    return {"low": -(2 ** (bits - 1)), "high": 2 ** (bits - 1) - 1, "bits": bits, "wrap": wrap}


def shortcut(draw: Draw, shapes: list[Shape], out: Shape) -> Arguments | None:
    """A shortcut into a layer of that output from one of the populations before it, the input first; None if none fits."""
    fits = []
    for source, shape in enumerate(shapes, -1):
        strides = [[s for s in range(1, n + 1) if -(-n // s) == m] for n, m in zip(shape[:2], out[:2], strict=True)]
        if shape[2] <= out[2] and all(strides):
            fits.append((source, shape, strides))
    if not fits or draw.some(0.3):
        return None
    source, shape, strides = draw.choice(fits)
    weights = np.random.default_rng(draw.getrandbits(32)).integers(-128, 128, shape[2]).astype(np.int32)
    return {
        **{"source": source, "in_h": shape[0], "in_w": shape[1], "in_c": shape[2], "delay": draw.randint(0, 2)},
        **{"stride_h": draw.choice(strides[0]), "stride_w": draw.choice(strides[1]), "weights": weights},
    }


def emulated_layer(draw: Draw, shapes: list[Shape], total: int, fires: bool) -> tuple[Arguments, Shape]:
    """A layer of the emulator's core behind populations of these shapes, and its output's height, width and channels."""
    height, width, channels = shapes[-1]
    in_block = draw.some(0.3)  # of the input's size, so that shortcuts fit
    pool = 1 if in_block else draw.randint(1, min(height, width, 2))
    rows, columns = height // pool, width // pool
    conv, outputs = draw.some(0.5), draw.choice((1, 3, 17))
    kernel = draw.randint(1, min(3, rows)), draw.randint(1, min(3, columns))
    stride, pad = (draw.randint(1, 2), draw.randint(1, 2)), (draw.randint(0, 1), draw.randint(0, 1))
    if in_block:
        kernel, stride, pad, outputs = (1, 1), (1, 1), (0, 0), max(outputs, channels)
    out = (1, 1)
    if conv:
        out = ((rows + 2 * pad[0] - kernel[0]) // stride[0] + 1, (columns + 2 * pad[1] - kernel[1]) // stride[1] + 1)
    count = channels * (kernel[0] * kernel[1] if conv else rows * columns) * outputs
    rng = np.random.default_rng(draw.getrandbits(32))
    start = draw.randint(0, 2) % total
    made = {
        "conv": conv,
        "fires": fires,
        "by_event": draw.some(0.3),
        "strict": draw.some(0.5),
        **{"in_h": height, "in_w": width, "in_c": channels, "pool": pool},
        **{"kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": stride[0], "stride_w": stride[1]},
        **{"pad_h": pad[0], "pad_w": pad[1], "out_h": out[0], "out_w": out[1], "out_c": outputs},
        **{"delay": draw.randint(0, 2), "start": start, "stop": draw.randint(start + 1, total)},
        **{"shift": draw.choice((0, 0, 6)), "keep": draw.randint(0, 16), "decay_bits": 4},
        "accumulator": register(draw),
        "membrane": register(draw),
        "weights": rng.integers(-128, 128, count).astype(np.int32),
        "theta": rng.integers(-50, 500, outputs),
        "bias": rng.integers(-5, 5, outputs),
        "shortcut": shortcut(draw, shapes, (*out, outputs)),
    }
    return made, (*out, outputs)


def emulated(draw: Draw) -> tuple[Arguments, list[Arguments], Arguments]:
    """The arguments of the constructor, of each `add` and of `run`."""
    steps = draw.steps()
    total = min(254, steps + draw.randint(0, 4))
    shapes: list[Shape] = [(draw.size(4), draw.size(4), draw.size(3))]
    sources, layers, depth = int(np.prod(shapes[0])), [], draw.randint(1, 3)
    for number in range(depth):
        fires = number + 1 < depth or draw.some(0.7)
        spec, shape = emulated_layer(draw, shapes, total, fires)
        shapes.append(shape)
        layers.append({"name": str(number), "layer": spec})
    times = draw.times(draw.randint(0, 3), sources, steps=steps).numpy()
    options = {"early_exit": layers[-1]["layer"]["fires"] and draw.some(0.5), "all_times": draw.some(0.5)}
    run = {"times": times, "threads": draw.threads(), **options, "trace": draw.some(0.3)}
    return {"steps": steps, "total_steps": total}, layers, run


PRIMITIVES = [name for name in dir(_emulator) if callable(getattr(_emulator, name)) and name[0].islower()]
