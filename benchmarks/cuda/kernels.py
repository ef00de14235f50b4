"""Each kernel at the sizes of the nets: time, and the least time that its bytes and operations take on this device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from firstspike import SpikeTimes, functional

from ..kernels import LayerCalls, anchor

BATCH, PIXELS, CHANNELS = 512, 28, 128
DEVICE = "cuda"


@dataclass(frozen=True)
class Case:
    """One call. bytes: each input read and each output written once. adds: float32 operations that it cannot avoid."""

    name: str
    call: Callable[[], object]
    bytes: float
    adds: float = 0.0

    def floor(self, ceilings: dict[str, float]) -> float:
        """The least time in milliseconds; an addition is half of a multiply-add."""
        return 1e3 * max(self.bytes / ceilings["bandwidth"], self.adds / (ceilings["float32"] / 2))


def neurons() -> Iterator[Case]:
    """The dense neuron and direct coding: bound by memory."""
    count = BATCH * 32 * PIXELS**2 // 2
    for steps in (4, 8, 16, 64):
        x = torch.randn(steps, 1, count if steps < 64 else count // 4, device=DEVICE) * 0.3
        yield Case(f"fire T={steps}", partial(functional.fire, x), 2 * x.nbytes)
        leaf = x.detach().requires_grad_()
        out, gradient = functional.fire(leaf), torch.randn_like(x)
        backward = partial(torch.autograd.grad, out, leaf, gradient, retain_graph=True)
        yield Case(f"fire backward T={steps}", backward, 3 * x.nbytes)
    current = torch.rand(BATCH, 32, PIXELS, PIXELS, device=DEVICE).contiguous(memory_format=torch.channels_last)
    yield Case("ramp T=8", lambda: functional.ramp(current, 8), current.nbytes * 1.25)


def layers() -> Iterator[Case]:
    """Linear and convolution layers, forward and backward."""
    pooled = {"padding": 1, "avg_pool": 2}
    few = BATCH // 8
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, int]]] = {
        "linear 784-400": ((BATCH, 784), (400, 784), {}),
        "linear 400-400": ((BATCH, 400), (400, 400), {}),
        "conv 32-64, pooled": ((BATCH, 32, PIXELS, PIXELS), (64, 32, 3, 3), pooled),
        "conv 128-128, pooled": ((few, CHANNELS, PIXELS, PIXELS), (CHANNELS, CHANNELS, 3, 3), pooled),
    }
    for name, (inputs, weights, options) in shapes.items():
        for steps in (8, 64):
            yield from _layer(f"{name} T={steps}", inputs, steps, weights, options)


def _layer(name: str, inputs: tuple[int, ...], steps: int, shape: tuple[int, ...], options: dict[str, int]) -> Iterator[Case]:
    x = functional.ramp(torch.rand(inputs, device=DEVICE).requires_grad_(), steps)  # about half of the neurons fire
    fan_in = torch.Size(shape[1:]).numel() / options.get("avg_pool", 1) ** 2
    weight = torch.randn(shape, device=DEVICE) * (steps / fan_in) ** 0.5
    taps = torch.Size(shape[2:]).numel()
    call: Callable[..., SpikeTimes] = functional.linear if len(shape) == 2 else functional.conv2d
    calls = LayerCalls(call, x, weight, options=dict(options))
    adds = float(x.count().sum()) * taps * shape[0]
    out = calls.forward()()
    moved, entries = x.times.nbytes + weight.nbytes + out.times.nbytes, anchor(out).numel()
    yield Case(f"{name} infer", calls.forward(record=False), moved, adds)
    yield Case(f"{name} record", calls.forward(), moved, adds)
    yield Case(f"{name} weight gradient", calls.weight_gradient(), moved + 6 * entries, adds)
    read = moved + 6 * entries + 4 * anchor(x).numel()
    yield Case(f"{name} input gradient", calls.input_gradient(), read, 2.0 * entries * shape[1] * taps)
