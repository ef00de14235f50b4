"""The kernels on a CUDA device, against the CPU; skipped where there is none. Not yet run on any device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional
from firstspike._base.kernels import find_cuda as find

from ..samples import Layer, generator, layer

MODULE, REASON = find()
pytestmark = pytest.mark.skipif(MODULE is None, reason=f"no CUDA kernels: {REASON}")
CASES = {
    "linear": layer((70, 784), (400, 784), 8),
    "linear, long": layer((5, 600), (35, 600), 40, decay=0.5),
    "linear, pooled map": layer((9, 16, 8, 6), (37, 16 * 12), 8, avg_pool=2),
    "conv2d": layer((3, 16, 8, 6), (70, 16, 3, 3), 8, padding=1),
    "conv2d, pooled": layer((2, 5, 9, 8), (33, 5, 3, 3), 254, padding=1, avg_pool=2, stride=2),
    "conv2d, wide": layer((2, 64, 14, 14), (128, 64, 3, 3), 8, padding=1),
}


def run(case: Layer, device: str) -> list[Tensor]:
    """Times, all gradients, and a linear layer's membrane, behind a layer of direct coding."""
    linear = case.weight.dim() == 2
    call: Callable[..., SpikeTimes] = functional.linear if linear else functional.conv2d
    assert case.bias is not None
    weight, bias = (t.to(device).requires_grad_() for t in (case.weight, case.bias))
    current = torch.round(torch.rand(case.times.shape, generator=generator(4)) * 64) / 64
    current = current.to(device).requires_grad_()
    first = functional.ramp(current, case.steps)
    out = call(first, weight, bias, **case.options)
    dense = out.dense()
    dense.backward(torch.randn(dense.shape, generator=generator(5)).to(device))
    results = [first.times, out.times, weight.grad, bias.grad, current.grad]
    if linear:
        pool = case.options.get("avg_pool", 1)
        spikes = SpikeTimes(case.times.to(device), case.steps)
        results.append(functional.integrate(spikes, weight, bias, avg_pool=pool).detach())
    return [t.cpu() for t in results if t is not None]


@pytest.mark.parametrize("name", CASES)
def test_as_on_the_cpu(name: str) -> None:
    for got, wanted in zip(run(CASES[name], "cuda"), run(CASES[name], "cpu"), strict=True):
        if wanted.dtype == torch.uint8:
            assert torch.equal(got, wanted)
        else:
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_in_every_run(name: str) -> None:
    first = run(CASES[name], "cuda")
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(run(CASES[name], "cuda"), first, strict=True))


@pytest.mark.parametrize("steps", [1, 8, 40])
def test_fire(steps: int) -> None:
    x = torch.randn(steps, 5, 1000, generator=generator(0)) * 0.4
    grad = torch.randn(x.shape, generator=generator(1))
    results = []
    for device in ("cpu", "cuda"):
        leaf = x.to(device).requires_grad_()
        out = functional.fire(leaf, decay=0.5)
        out.backward(grad.to(device))
        assert leaf.grad is not None
        results.append((out.detach().cpu(), leaf.grad.cpu()))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-5, atol=1e-6)


def test_on_another_stream() -> None:
    case: Layer = CASES["linear"]
    weight = case.weight.cuda()
    spikes = SpikeTimes(case.times.cuda(), case.steps)
    expected = functional.linear(spikes, weight).times
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        got = functional.linear(spikes, weight).times
    stream.synchronize()
    assert torch.equal(got, expected)
