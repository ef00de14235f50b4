"""Edges of the CPU kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional
from firstspike._base import kernels
from firstspike.surrogate import triangle

pytestmark = pytest.mark.usefixtures("keep_threads")


@pytest.mark.parametrize(("healthy", "broken"), [(0, 48), (0, 16), (16, 0), (48, 0), (31, 63), (47, 15), (5, 6)])
def test_a_nan_silences_its_own_neuron_alone(broken: int, healthy: int) -> None:
    """In training as in inference: the neurons of one tile do not share a NaN."""
    weight = torch.zeros(64, 1)
    weight[healthy], weight[broken] = 2.0, torch.nan
    spikes = SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 4)
    for record in (False, True):
        times = functional.linear(spikes, weight.clone().requires_grad_(record), None).times
        assert times[0, healthy] == 0
        assert (times != 255).sum() == 1


def test_every_thread_flushes_denormals_as_the_caller_does() -> None:
    """Products of 1e-30 and a slope below 1e-9 are denormal: with flushing all tasks round them to zero, else none."""
    current = torch.full((4096, 16), 0.5)
    threads = 4
    for flush in (True, False):
        assert torch.set_flush_denormal(flush)
        found: list[Tensor] = []
        for number in (1, threads):
            torch.set_num_threads(number)
            x = current.clone().requires_grad_()
            spikes = functional.ramp(x, 1, surrogate=triangle(1.0))
            spikes.dense().backward(torch.full((1, 4096, 16), 1.5e-38))
            assert x.grad is not None
            found.append(x.grad)
        torch.set_flush_denormal(False)
        expected = 0.0 if flush else 1.5e-38 * 0.5
        assert torch.equal(found[0], found[1])
        assert (found[0] == 0).all() if flush else torch.allclose(found[0], torch.tensor(expected), rtol=1e-3, atol=0)


def test_a_line_that_is_too_long_is_refused() -> None:
    """Its distinct vectors of dL/dX could not be numbered in 32 bits."""
    sites = 4_300_000  # too long with vectors of four lanes, and so with wider ones
    taps = 64
    width = sites + taps - 1
    sizes = [1, 1, width, 1, 1, 1, taps, 1, 1, 0, 0, 1, 254]
    array = torch.utils.dlpack.to_dlpack
    times = torch.full((width,), 255, dtype=torch.uint8)
    weight, weight_out, bias_out = torch.zeros(1, 1, 1, taps), torch.zeros(1, 1, 1, taps), torch.zeros(1)
    support = (array(torch.zeros(sites + 1, dtype=torch.int64)), array(torch.zeros(2, 0, dtype=torch.uint8)))
    call = (sizes, (1.0, 1.0, 0.0, 1.0, 0.0), array(times), array(weight), support, None, array(torch.zeros(0)), None, 1)
    with pytest.raises(ValueError, match="too long"):
        kernels.cpu.layer_gradients(*call, None, array(weight_out), array(bias_out))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_while_other_threads_use_the_store() -> None:
    """The child's store of blocks is not locked by a thread that it does not have."""
    code = """
import os, threading, torch
from firstspike._base import kernels
array = torch.utils.dlpack.to_dlpack
batch, cpu = 2000, kernels.cpu
times, weight = torch.zeros(batch, 1, dtype=torch.uint8), torch.ones(1, 1)
offset, place = torch.arange(batch + 1), torch.zeros(2, batch, dtype=torch.uint8)
ones, out = torch.ones(batch), torch.empty(batch)
def work():  # allocates for every sample, without Python's lock
    entries = lambda: (array(offset), array(place))
    sizes, neuron = [batch, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1], (1.0, 1.0, 0.0, 1.0, 0.0)
    while not stop:
        cpu.layer_gradients(sizes, neuron, array(times), array(weight), entries(), None, array(ones), entries(), 1, array(out),
                            None, None)
stop = False
thread = threading.Thread(target=work)
thread.start()
for _ in range(40):
    child = os.fork()
    if child == 0:
        cpu.empty(1 << 12)
        os._exit(0)
    os.waitpid(child, 0)
stop = True
thread.join()
"""
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=120, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("firing", [range(16), range(8, 16), range(2), (0, 15), ()])
def test_support_of_a_batch_is_that_of_its_samples(firing: Iterable[int]) -> None:
    """Wherever in a batch the entries are: how many there will be is estimated from the first samples."""
    steps, outputs = 8, 70
    g = torch.Generator().manual_seed(1)
    times = torch.full((16, 12, 12, 2), 255, dtype=torch.uint8)
    for sample in firing:
        times[sample] = torch.randint(steps, (12, 12, 2), generator=g, dtype=torch.uint8)
    weight = torch.randn(outputs, 2, 3, 3, generator=g).requires_grad_()

    def support(samples: Tensor, threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        found = functional.conv2d(SpikeTimes(samples.movedim(3, 1), steps), weight, padding=1)._support
        assert found is not None
        return list(found)

    alone = [support(times[i : i + 1], 1) for i in range(16)]
    counts = torch.cat([offset.diff() for offset, _, _ in alone])
    expected = (
        torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
        torch.cat([slope for _, slope, _ in alone]),
        torch.cat([place for _, _, place in alone], dim=1),
    )
    assert bool(counts.any()) == bool(list(firing))
    for threads in (1, 2, 3):
        for array, wanted in zip(support(times, threads), expected, strict=True):
            assert torch.equal(array, wanted)
