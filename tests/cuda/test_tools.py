"""The tools of these tests: the stand-in device notices wrong kernels, and nvcc's resource report is read."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from . import resources


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


GOOD = """ptxas info    : Compiling entry function '_ZN1a4cuda39_GLOBAL__N__4_x_cu_62b11fire_kernelILi4ELb0EEEv' for 'sm_90'
ptxas info    : Function properties for _ZN1a
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 64 registers, used 0 barriers
"""
BAD = GOOD.replace("0 bytes stack frame, 0 bytes spill stores", "8 bytes stack frame, 12 bytes spill stores")


def test_report_is_read() -> None:
    assert resources.kernels(GOOD) == [resources.Kernel("fire_kernel<4, 0>", "sm_90", 0, 0, 64)]
    assert resources.wrong(resources.kernels(GOOD + BAD)) == ["fire_kernel<4, 0> for sm_90: 8 bytes of stack, 12 bytes spilled"]


@pytest.mark.parametrize(("log", "status"), [(GOOD, 0), (BAD, 1), ("ninja: no work to do.", 2)])
def test_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str], log: str, status: int) -> None:
    (tmp_path / "log").write_text(log)
    assert resources.main(str(tmp_path / "log")) == status
    assert capsys.readouterr().out
