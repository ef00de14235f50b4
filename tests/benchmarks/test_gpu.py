"""The device benchmark as far as it goes without a device."""

import pytest
from benchmarks.cuda import kernels

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
