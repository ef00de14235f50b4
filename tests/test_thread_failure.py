"""A system that gives no thread: those that there are do the work, and the process lives."""

from __future__ import annotations

import subprocess
import sys

import pytest

from firstspike._base.kernels import cpu

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
def test_work_goes_on_with_fewer_threads() -> None:
    done = subprocess.run([sys.executable, "-c", KERNELS], capture_output=True, text=True, timeout=300)
    assert done.stdout == "the same\n", done.stderr
