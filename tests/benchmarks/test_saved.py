import mmap
import sys

import pytest
import torch
from benchmarks.nets.dense import loop, scan

from benchmarks import saved


def test_each_storage_counts_once_and_known_ones_do_not():
    weight = torch.ones(10, 10, requires_grad=True)
    x = torch.ones(4, 10)

    def forward():
        hidden = (x @ weight).exp()  # exp keeps its result, 4 x 10 floats; the product keeps x and weight
        return (hidden[:2] * hidden[2:]).sum()  # two views of that result

    assert saved.kept_bytes(forward, [weight, x]) == 4 * 10 * 4
    assert saved.kept_bytes(forward, [weight]) == 2 * 4 * 10 * 4


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_seen_and_forgotten():
    saved.forget_peak()
    before = saved.resident()
    with mmap.mmap(-1, 64 << 20) as block:  # no tensor: malloc may keep what is freed (firstspike/train/allocator.py)
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert saved.peak_resident() >= before + (60 << 20)
    saved.forget_peak()
    assert saved.peak_resident() < before + (60 << 20)


def test_dense_neurons_as_a_loop_and_as_a_running_sum_agree():
    generator = torch.Generator().manual_seed(0)
    current = torch.randn(6, 3, 50, generator=generator, dtype=torch.float64)
    gradient = torch.randn(current.shape, generator=generator, dtype=torch.float64)
    results = []
    for neurons in (loop, scan):
        x = current.clone().requires_grad_()
        spikes = neurons(x)
        spikes.backward(gradient)
        results.append((spikes.detach(), x.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
    assert (results[0][0].sum(0) <= 1).all() and (results[0][0].sum(0) == 0).any()
