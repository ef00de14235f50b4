"""The device benchmark as far as it goes without a device."""

from dataclasses import replace

import pytest
import torch
from benchmarks.cuda import kernels, steps
from benchmarks.timing import summarize
from benchmarks.workloads import MLP

from benchmarks import gpu

LIMITS = {"bandwidth": 1e12, "float32": 1e13, "tf32": 1e14, "bf16": 1e14}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_it_says_why(capsys):
    assert gpu.main([]) == 2
    assert "torch sees no CUDA device" in capsys.readouterr().err


@pytest.fixture
def small(monkeypatch):
    """The cases on the CPU, and small."""
    for name, value in {"DEVICE": "cpu", "BATCH": 8, "PIXELS": 4, "CHANNELS": 16}.items():
        monkeypatch.setattr(kernels, name, value)


@pytest.mark.usefixtures("small")
def test_every_case_runs_and_has_a_floor():
    cases = [case for group in (kernels.neurons, kernels.layers) for case in group()]
    for case in cases:
        case.call()
        assert 0 < case.floor(LIMITS) < 1e3
    assert len({case.name for case in cases}) == len(cases) > 30


def test_floor_is_the_larger_of_bytes_and_additions():
    case = kernels.Case("x", lambda: None, bytes=2e9, adds=5e9)
    assert case.floor(LIMITS) == pytest.approx(2.0)  # 2 GB at 1 TB/s; 5e9 additions at 5e12/s take 1 ms
    assert replace(case, adds=2e10).floor(LIMITS) == pytest.approx(4.0)


def test_a_step_is_measured_and_compared(monkeypatch, capsys):
    monkeypatch.setattr(steps, "DEVICE", "cpu")
    monkeypatch.setattr(steps, "milliseconds", lambda call, **_: (call(), summarize([2.0]))[1])
    monkeypatch.setattr(steps, "peak_bytes", lambda call: 2**20)
    row = steps.cell("firstspike", replace(MLP, batch=4), 8)
    assert row == {"eager": 2.0, "bytes": 2**20}
    head = {"net": "mlp", "steps": 8}
    other = {**head, "side": "spikingjelly, cuda", "failure": "ImportError: absent"}
    gpu.table([{**head, "side": "firstspike", **row}, {**head, "side": "dense", "eager": 6.0, "bytes": 1}, other])
    ours, dense, jelly = capsys.readouterr().out.splitlines()
    assert "1 MiB" in ours and "1.00 x ours" in ours and "3.00 x ours" in dense
    assert "ImportError: absent" in jelly and "x ours" not in jelly
