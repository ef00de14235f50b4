"""The reader of nvcc's resource report."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import resources

GOOD = """ptxas info    : Compiling entry function '_ZN1a4cuda39_GLOBAL__N__4_x_cu_62b11fire_kernelILi4ELb0EEEv' for 'sm_90'
ptxas info    : Function properties for _ZN1a
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 64 registers, used 0 barriers
"""
BAD = GOOD.replace("0 bytes stack frame, 0 bytes spill stores", "8 bytes stack frame, 12 bytes spill stores")


def test_report_is_read() -> None:
    assert resources.kernels(GOOD) == [resources.Kernel("fire_kernel<4, 0>", "sm_90", 0, 0, 64)]
    assert resources.wrong(resources.kernels(GOOD + BAD)) == [
        "fire_kernel<4, 0> for sm_90: 8 bytes of stack, 12 bytes spilled"
    ]


@pytest.mark.parametrize(("log", "status"), [(GOOD, 0), (BAD, 1), ("ninja: no work to do.", 2)])
def test_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str], log: str, status: int) -> None:
    (tmp_path / "log").write_text(log)
    assert resources.main(str(tmp_path / "log")) == status
    assert capsys.readouterr().out
