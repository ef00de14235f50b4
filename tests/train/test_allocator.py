"""Memory that is freed stays with the process."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from firstspike.train.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(16 << 20)  # 64 MiB, of 16384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory()
torch.zeros(16 << 20)
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_a_freed_tensor_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # of 81,920
