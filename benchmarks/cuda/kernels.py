"""Each kernel at the sizes of the nets: time, and the least time that its bytes and operations take on this device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from firstspike import SpikeTimes, functional
from firstspike.ops import _cuda

Call = Callable[[], object]
BATCH, PIXELS, CHANNELS = 512, 28, 128
DEVICE = "cuda"


@dataclass(frozen=True)
class Case:
    """One call. bytes: each input read and each output written once. adds: float32 operations that it cannot avoid."""

    name: str
    call: Call
    bytes: float
    adds: float = 0.0

    def floor(self, ceilings: dict[str, float]) -> float:
        """The least time in milliseconds; an addition is half of a multiply-add."""
        return 1e3 * max(self.bytes / ceilings["bandwidth"], self.adds / (ceilings["float32"] / 2))


def _times(shape: tuple[int, ...], steps: int, seed: int = 0) -> SpikeTimes:
    """Half of the neurons fire, at random times."""
    g = torch.Generator(device=DEVICE).manual_seed(seed)
    times = torch.randint(0, 2 * steps, shape, generator=g, device=DEVICE)
    times = torch.where(times < steps, times, 255).to(torch.uint8)
    return SpikeTimes(times, steps)


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
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, int]]] = {
        "linear 784-400": ((BATCH, 784), (400, 784), {}),
        "linear 400-400": ((BATCH, 400), (400, 400), {}),
        "conv 32-64, pooled": ((BATCH, 32, PIXELS, PIXELS), (64, 32, 3, 3), {"padding": 1, "avg_pool": 2}),
        "conv 128-128, pooled": (
            (BATCH // 8, CHANNELS, PIXELS, PIXELS),
            (CHANNELS, CHANNELS, 3, 3),
            {"padding": 1, "avg_pool": 2},
        ),
    }
    for name, (inputs, weights, options) in shapes.items():
        for steps in (8, 64):
            yield from _layer(f"{name} T={steps}", _times(inputs, steps), weights, options)


def _layer(name: str, spikes: SpikeTimes, shape: tuple[int, ...], options: dict[str, int]) -> Iterator[Case]:
    call: Callable[..., SpikeTimes] = functional.linear if len(shape) == 2 else functional.conv2d
    fan_in = torch.Size(shape[1:]).numel() / options.get("avg_pool", 1) ** 2
    weight = torch.randn(shape, device=DEVICE) * (spikes.steps / fan_in) ** 0.5
    taps = torch.Size(shape[2:]).numel()
    adds = float(spikes.count().sum()) * taps * shape[0]
    forward: Callable[[], SpikeTimes] = lambda: call(spikes, weight, **options)  # noqa: E731
    moved = spikes.times.nbytes + weight.nbytes + forward().times.nbytes
    yield Case(f"{name} infer", forward, moved, adds)
    leaf = weight.clone().requires_grad_()
    yield Case(f"{name} record", lambda: call(spikes, leaf, **options), moved, adds)

    train = functional.ramp(torch.rand(spikes.shape, device=DEVICE).requires_grad_(), spikes.steps)
    assert train._anchor is not None
    once = float(train.count().sum()) * taps * shape[0]
    to_weight, entries = _backward(call(train.detach(), leaf, **options), leaf)
    yield Case(f"{name} weight gradient", to_weight, moved + 6 * entries, once)
    to_input, entries = _backward(call(train, weight, **options), train._anchor)
    read = moved + 6 * entries + 4 * train._anchor.numel()
    yield Case(f"{name} input gradient", to_input, read, 2.0 * entries * shape[1] * taps)


def _backward(out: SpikeTimes, of: Tensor) -> tuple[Call, int]:
    """The gradient of one tensor, and how many support entries it comes from."""
    assert out._anchor is not None
    anchor, gradient = out._anchor, torch.randn(out._anchor.shape, device=DEVICE)
    return lambda: torch.autograd.grad(anchor, of, gradient, retain_graph=True), anchor.numel()


VARIANTS: dict[str, _cuda.Variant] = {
    "as chosen": _cuda.Variant(0, 0),
    "1 tile": _cuda.Variant(1, 1),
    "2 tiles": _cuda.Variant(2, 1),
    "4 tiles": _cuda.Variant(4, 1),
    "1 tile, staged": _cuda.Variant(1, 2),
    "2 tiles, staged": _cuda.Variant(2, 2),
    "4 tiles, staged": _cuda.Variant(4, 2),
}


class Chosen:
    """Runs the layers' kernels in a variant, inside a `with` block."""

    def __init__(self, variant: tuple[int, ...]) -> None:
        self.variant = _cuda.Variant(*variant)

    def __enter__(self) -> None:
        self.before, _cuda.VARIANT = _cuda.VARIANT, self.variant

    def __exit__(self, *_: object) -> None:
        _cuda.VARIANT = self.before
