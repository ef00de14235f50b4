"""The device benchmark as far as it goes without a device."""

import pytest
import torch
from benchmarks.cuda import kernels, windows
from benchmarks.workloads import MLP

from benchmarks import gpu

LIMITS = {"bandwidth": 1e12, "float32": 1e13, "tf32": 1e14, "bf16": 1e14}


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


def test_the_cpu_agrees_with_itself(monkeypatch):
    data = torch.randint(256, (8, 784), dtype=torch.uint8), torch.arange(8)
    monkeypatch.setattr(windows, "images_of", lambda batch, workload: data)
    assert windows.agreement(MLP, "cpu", 8) == {"equal times": 1.0, "scores": 0.0, "gradient": 0.0}


def test_nothing_is_run_without_a_device(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda: None)
    monkeypatch.setattr(gpu, "obstacle", lambda: "torch sees no CUDA device")
    assert gpu.main(["--results", str(tmp_path)]) == 2
    assert "no CUDA device" in capsys.readouterr().err and not list(tmp_path.iterdir())
