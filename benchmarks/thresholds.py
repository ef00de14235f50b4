"""Both sides of thresholds of the kernels' plan (cpp/cpu/layer/plan.h): `nox -s bench -- --sweep` prints ratios of time.

Processor time of one thread, medians of rounds in turns, so that other programs matter little. FIRSTSPIKE_ISA chooses the
instruction set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from firstspike import encode
from firstspike.nn import TTFSConv2d, TTFSLinear

from .kernels import LayerCalls

STEPS = (2, 4, 8, 12, 16, 32, 64)
SMALL_FIELD, STEPS_OF_TILES = "FIRSTSPIKE_SMALL_FIELD", "FIRSTSPIKE_STEPS_OF_TILES"


def main() -> None:
    """Print for each size the ratios at `STEPS`: below 1 the way above the threshold, named first, is faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    print("dL/dW, a convolution's way / the way of small fields, by weight rows; T =", *STEPS)
    for (channels, kernel), outputs in ((size, o) for o in (32, 64) for size in ((1, 3), (2, 3), (1, 5), (3, 3), (4, 3), (6, 3))):
        calls = (weight_gradient(channels, outputs, kernel, steps) for steps in STEPS)
        ratios = [_ratio(call, SMALL_FIELD, 0, 1 << 20) for call in calls]
        print(f"{channels * kernel**2:4} rows, {outputs} outputs ", *(f"{ratio:.2f}" for ratio in ratios), flush=True)
    print("dL/ds of a linear layer, joined steps / entries by tile, by outputs")
    for outputs in (64, 256, 1024):
        ratios = [_ratio(call, STEPS_OF_TILES, 0, 255) for call in _linears(outputs)]
        print(f"{outputs:4} outputs ", *(f"{ratio:.2f}" for ratio in ratios), flush=True)
    torch.set_num_threads(threads)


def weight_gradient(channels: int, outputs: int, kernel: int, steps: int) -> Callable[[], object]:
    """dL/dW of a convolution on 8 images of smooth noise, 28 x 28."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.rand(8, channels, 30, 30, generator=generator), 3, 1)
    x = encode.latency(((smooth - 0.3) * 2.5).clamp(0, 1), steps)
    layer = TTFSConv2d(channels, outputs, kernel, padding=kernel // 2, steps=steps, generator=generator)
    return LayerCalls.of(layer, x).weight_gradient()


def _linears(outputs: int) -> Iterator[Callable[[], object]]:
    for steps in STEPS:
        generator = torch.Generator().manual_seed(0)
        x = encode.latency((torch.rand(128, 400, generator=generator) - 0.2).clamp(0, 1), steps)
        hidden = TTFSLinear(400, 400, steps=steps, generator=generator)(x)
        yield LayerCalls.of(TTFSLinear(400, outputs, steps=steps, generator=generator), hidden).input_gradient()


def _ratio(call: Callable[[], object], variable: str, first: int, second: int, rounds: int = 9) -> float:
    """The time with the variable at `first` over the time at `second`."""
    times: dict[int, list[float]] = {first: [], second: []}
    for _ in range(rounds):
        for value, measured in times.items():
            os.environ[variable] = str(value)
            call()
            start = time.thread_time()
            call()
            measured.append(time.thread_time() - start)
    del os.environ[variable]
    return float(np.median(times[first]) / np.median(times[second]))
