"""The device benchmark as far as it goes without a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.cuda import kernels, steps
from benchmarks.records import SectionRecord, load
from benchmarks.stats import summarize
from benchmarks.workloads import MLP

from benchmarks import gpu

LIMITS = {"bandwidth": 1e12, "float32": 1e13, "tf32": 1e14, "bf16": 1e14}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_it_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    assert "Nothing was run: torch sees no CUDA device" in capsys.readouterr().err


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases on the CPU, and small."""
    for name, value in {"DEVICE": "cpu", "BATCH": 8, "PIXELS": 4, "CHANNELS": 16}.items():
        monkeypatch.setattr(kernels, name, value)


@pytest.mark.usefixtures("small")
def test_every_case_runs_and_has_a_floor() -> None:
    names = []
    for group in (kernels.neurons, kernels.layers):
        for case in group():
            case.call()
            assert 0 < case.floor(LIMITS) < 1e3
            names.append(case.name)
    assert len(set(names)) == len(names) > 30


def test_floor_is_the_larger_of_bytes_and_additions() -> None:
    case = kernels.Case("x", lambda: None, bytes=2e9, adds=5e9)
    assert case.floor(LIMITS) == pytest.approx(2.0)  # 2 GB at 1 TB/s; 5e9 additions at 5e12/s take 1 ms
    assert replace(case, adds=2e10).floor(LIMITS) == pytest.approx(4.0)


def test_a_variant_holds_inside_its_block() -> None:
    before = kernels._cuda.VARIANT
    with kernels.Chosen((2, 1)):
        assert kernels._cuda.VARIANT == (2, 1)
    assert before == kernels._cuda.VARIANT


def test_a_step_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "DEVICE", "cpu")
    monkeypatch.setattr(steps, "milliseconds", lambda call, **_: (call(), summarize([2.0]))[1])
    monkeypatch.setattr(steps, "captured", lambda call: call)
    monkeypatch.setattr(steps, "peak_bytes", lambda call: 7)
    workload = replace(MLP, batch=4)
    monkeypatch.setattr(steps, "WORKLOADS", (workload,))
    row = steps.cell("firstspike", workload, 8)
    assert (row["eager"], row["bytes"]) == (2.0, 7) and "graph" not in row


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    common = {"net": "mlp", "steps": 8}
    gpu._table(
        [
            {**common, "side": "firstspike", "eager": 2.0, "graph": 1.0, "bytes": 2**20},
            {**common, "side": "dense, compiled", "eager": 3.0},
            {**common, "side": "spikingjelly, cuda", "failure": "ImportError: absent"},
        ]
    )
    ours, dense, jelly = capsys.readouterr().out.splitlines()
    assert "1 MiB" in ours and "1.00 x ours" in ours
    assert "3.00 x ours" in dense
    assert "ImportError: absent" in jelly and "x ours" not in jelly


@pytest.mark.usefixtures("small")
def test_kernels_stop_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.cuda.timing.ceilings", lambda: LIMITS)
    monkeypatch.setattr("benchmarks.cuda.timing.milliseconds", lambda call, **_: summarize([1.0]))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    gpu._kernels(SectionRecord(tmp_path, "kernels", resume=False), deadline=0.0)
    assert "time is up" in capsys.readouterr().out
    assert [row["cell"] for row in load(tmp_path / "kernels.json")] == ["ceilings"]
