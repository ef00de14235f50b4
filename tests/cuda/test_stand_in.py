"""The stand-in device notices what it is there to notice."""

from __future__ import annotations

from types import ModuleType

import pytest


def results(host: ModuleType, barrier: bool) -> list[list[int]]:
    """What a kernel gives in several orders of its threads."""
    found = []
    for order in (0, 1, 5):
        host.set_device(3, 64 * 1024, order)
        found.append(host.neighbours(barrier))
    return found


def test_a_missing_barrier_shows_in_another_order(host: ModuleType) -> None:
    assert results(host, barrier=True) == [[*range(1, 64), 0]] * 3
    assert results(host, barrier=False)[0] != results(host, barrier=False)[1]


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("half_a_warp", "misses a function of its warp"),
        ("half_a_block", "ends while others wait"),
        ("overrun", "behind its shared memory"),
    ],
)
def test_wrong_kernels_are_refused(host: ModuleType, kernel: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        getattr(host, kernel)()
    assert host.neighbours(True)[0] == 1  # and it goes on afterwards
