"""The same bits from every number of threads, from every split of the batch, and from every run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional
from firstspike._base.kernels import cpu
from firstspike.surrogate import Surrogate, atan, triangle

from ..compare import same_on_threads
from ..samples import Layer, generator, layer, spike_times

pytestmark = pytest.mark.usefixtures("keep_threads")


def cases(surrogate: Surrogate) -> dict[str, Layer]:
    """Rounding-prone layers, wide and deep enough to be cut into several tasks."""
    options = {"exact": False, "surrogate": surrogate}
    return {
        "linear": layer((33, 70), (150, 70), 8, **options),
        "linear, pooled map": layer((9, 5, 8, 6), (37, 60), 16, avg_pool=2, **options),
        "linear, map": layer((5, 3, 6, 7), (37, 126), 8, **options),
        "linear, one sample": layer((1, 200), (130, 200), 64, **options),
        "conv2d": layer((5, 6, 13, 9), (35, 6, 3, 3), 8, padding=1, **options),
        "conv2d, one channel": layer((5, 1, 13, 9), (70, 1, 3, 3), 8, padding=1, **options),
        "conv2d, strided": layer((2, 3, 24, 24), (20, 3, 5, 5), 16, stride=2, avg_pool=2, decay=0.9, **options),
        "linear, synaptic": layer((33, 70), (150, 70), 16, synaptic_decay=1.0, **options),
        "conv2d, synaptic": layer((5, 6, 13, 9), (35, 6, 3, 3), 8, padding=1, decay=0.9, synaptic_decay=0.5, **options),
        "conv2d, one sample": layer((1, 4, 17, 19), (70, 4, 3, 3), 8, **options),
        "conv2d, tall kernel": layer((3, 2, 7, 7), (20, 2, 7, 7), 8, padding=3, **options),
        "conv2d, many channels": layer((5, 40, 6, 5), (33, 40, 3, 3), 8, padding=1, **options),
    }


def run(name: str, case: Layer) -> list[Tensor]:
    """Times, membranes and gradients of weight, bias and input; the input is a dense train and a fused layer."""
    call = functional.conv2d if name.startswith("conv2d") else functional.linear
    w = case.weight.clone().requires_grad_()
    b = case.bias.clone().requires_grad_()
    x = SpikeTimes(case.times, case.steps).dense().requires_grad_()
    current = torch.rand(case.times.shape, generator=generator(4)).requires_grad_()
    neuron = {name: case.options[name] for name in ("surrogate", "synaptic_decay") if name in case.options}
    first = functional.ramp(current, case.steps, **neuron)
    results = []
    for spikes in (SpikeTimes.from_dense(x), first):
        out = call(spikes, w, b, **case.options)
        dense = out.dense()
        dense.backward(torch.randn(dense.shape, generator=generator(5)))
        results += [out.times, dense.detach()]
    if call is functional.linear:
        v = functional.integrate(
            first, w, b, avg_pool=case.options.get("avg_pool", 1), synaptic_decay=case.options.get("synaptic_decay", 0.0)
        )
        results.append(v.detach())
    return [*results, w.grad, b.grad, x.grad, current.grad]


SURROGATES = [*((name, triangle()) for name in cases(triangle())), ("linear", atan()), ("conv2d", atan())]


@pytest.mark.parametrize(("name", "surrogate"), SURROGATES, ids=str)
def test_same_bits_on_one_and_more_threads(name: str, surrogate: Surrogate) -> None:
    case = cases(surrogate)[name]
    torch.set_num_threads(1)
    expected = run(name, case)
    for threads in (2, 7, 64):
        torch.set_num_threads(threads)
        for i, (a, b) in enumerate(zip(run(name, case), expected, strict=True)):
            if i < len(expected) - 4 or surrogate.sparse:
                assert torch.equal(a, b), f"result {i} differs on {threads} threads"
            else:  # torch's own products, whose sums may be split among threads
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def in_parts(call: Callable[[SpikeTimes], Tensor], case: Layer, sizes: list[int]) -> Tensor:
    """The layer's result, computed for parts of the batch."""
    parts = SpikeTimes(case.times, case.steps).times.split(sizes)
    return torch.cat([call(SpikeTimes(part, case.steps)) for part in parts])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["linear", "linear, pooled map", "conv2d", "conv2d, one channel", "conv2d, strided"])
def test_same_bits_for_any_split_of_the_batch(name: str, threads: int) -> None:
    torch.set_num_threads(threads)
    case = cases(triangle())[name]
    function = functional.conv2d if name.startswith("conv2d") else functional.linear
    batch = len(case.times)

    def times(spikes: SpikeTimes) -> Tensor:
        return function(spikes, case.weight, case.bias, **case.options).times

    def membrane(spikes: SpikeTimes) -> Tensor:
        pool = case.options.get("avg_pool", 1)
        return functional.integrate(spikes, case.weight, case.bias, avg_pool=pool).transpose(0, 1)

    calls = [times, membrane] if function is functional.linear else [times]
    for call in calls:
        whole = call(SpikeTimes(case.times, case.steps))
        for sizes in ([1] * batch, [batch - 1, 1], [batch // 2, batch - batch // 2]):
            assert torch.equal(in_parts(call, case, sizes), whole)


def test_dense_and_fire_on_threads() -> None:
    times = spike_times((64, 33, 5, 3), 16, "mixed", generator(0))
    current = torch.randn(16, 64, 99, generator=generator(1)) * 0.4

    def results() -> list[Tensor]:
        x = current.clone().requires_grad_()
        out = functional.fire(x, decay=0.9)
        gradient = torch.autograd.grad(out, x, torch.randn(out.shape, generator=generator(2)))
        dense = SpikeTimes(times, 16).dense()
        return [dense, SpikeTimes.from_dense(dense).times, out.detach(), *gradient]

    same_on_threads(results)


KERNELS = """
import resource
import numpy as np
import torch
from firstspike import SpikeTimes, functional
from firstspike._base.kernels import cpu
from tests.emulator.program.test_engine import core

torch.set_num_threads(1)
spikes = SpikeTimes(torch.randint(0, 8, (512, 300), dtype=torch.uint8), 8)
weight = torch.randn(200, 300) / 10
network, times = core(), np.zeros((4096, 2), np.uint8)
expected = functional.linear(spikes, weight).times, network.run(times, threads=1).times[-1]
cpu.share_openmp_pool(0)  # threads of the kernels' own
torch.set_num_threads(64)
functional.linear(spikes, weight)  # memory that is kept for the next call
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20), most))  # a stack takes 8 MiB
got = functional.linear(spikes, weight).times, network.run(times, threads=64).times[-1]
resource.setrlimit(resource.RLIMIT_AS, (most, most))
assert torch.equal(got[0], expected[0]) and (got[1] == expected[1]).all()
print("the same")
"""


@pytest.mark.skipif(sys.platform != "linux" or cpu.sanitized, reason="needs RLIMIT_AS, which AddressSanitizer exceeds")
def test_a_system_that_gives_no_thread() -> None:
    """Those that there are do the work, and the process lives."""
    done = subprocess.run([sys.executable, "-c", KERNELS], capture_output=True, text=True, timeout=300)
    assert done.stdout == "the same\n", done.stderr
