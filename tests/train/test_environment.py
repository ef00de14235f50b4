"""What a run sets in its process is as documented, and put back."""

import platform
import subprocess
import sys

import pytest
import torch

from firstspike.train.environment import generator, seeded

FAULTS = """
import resource
import torch
from firstspike.train.environment import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(16 << 20)  # 64 MiB, of 16384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory()
torch.zeros(16 << 20)
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has the setting")
def test_a_freed_tensor_is_used_again():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # of 81,920


def test_only_the_named_device_is_seeded_and_all_is_put_back(monkeypatch):
    seeded_all = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded_all.append)
    before = torch.get_rng_state()
    with seeded(3, "order", 2, torch.device("cpu")):
        found = torch.rand(5)
    assert torch.equal(found, torch.rand(5, generator=generator(3, "order", 2)))
    assert torch.equal(torch.get_rng_state(), before) and not seeded_all
