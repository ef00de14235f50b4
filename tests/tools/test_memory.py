import mmap
import sys

import pytest

from tools import memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_seen_and_reset():
    memory.reset_peak()
    before = memory.resident()
    with mmap.mmap(-1, 64 << 20) as block:  # no tensor: malloc may keep what is freed
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert memory.peak_resident() >= before + (60 << 20)
    memory.reset_peak()
    assert memory.peak_resident() < before + (60 << 20)
