"""Which compiled modules run, and what is said where one cannot."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from firstspike import backends
from firstspike._base import kernels

EXAMPLE = Path(__file__).parent.parent / "examples" / "digits.toml"


def test_sources_that_are_not_compiled_say_how_to_install(tmp_path: Path) -> None:
    source = Path(kernels.__file__).parent
    shutil.copytree(source, tmp_path / "firstspike", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", "import firstspike"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1 and last.startswith("ImportError: firstspike is not compiled for cpython-3"), (
        result.stderr
    )
    assert str(tmp_path / "firstspike") in last and "pip install ." in last


@pytest.mark.parametrize(
    ("driver", "runtime", "capability", "says"),
    [
        (12040, 12080, (8, 0), None),  # a runtime runs on any driver of its major version
        (13000, 12080, (9, 0), None),
        (12080, 13000, (9, 0), "built with CUDA 13.0, but the driver knows CUDA up to 12.8 only"),
        (0, 12000, (9, 0), "the driver knows CUDA up to 0.0 only"),
        (12080, 12080, (7, 5), "built for compute capability 8.0 and later, but the device has 7.5"),
    ],
)
def test_a_driver_or_device_that_is_too_old(driver: int, runtime: int, capability: Any, says: str | None) -> None:
    refusal = kernels._cuda_refusal(driver, runtime, capability)
    assert refusal is None if says is None else says in (refusal or "")


@pytest.mark.parametrize(("driver", "available"), [(12080, False), (13010, True)])
def test_backends_tell_of_the_driver(monkeypatch: pytest.MonkeyPatch, driver: int, available: bool) -> None:
    """The module is built and torch sees a device; only the driver's version differs."""
    module = SimpleNamespace(versions=lambda: (driver, 13000))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: module)
    monkeypatch.setattr(kernels.importlib, "import_module", lambda *_: module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    found = backends()["cuda"]
    assert found["available"] == available and ("install a newer driver" in found["reason"]) != available


@pytest.mark.parametrize(
    ("by_loops", "says"), [(False, "the newest that this processor has"), (True, "AVX-512 by loops")]
)
def test_the_reason_tells_of_a_build_for_tests(monkeypatch: pytest.MonkeyPatch, by_loops: bool, says: str) -> None:
    monkeypatch.delenv("FIRSTSPIKE_ISA", raising=False)
    monkeypatch.setattr(kernels, "_available", lambda: ["v3", "v4"])
    monkeypatch.setattr(kernels._core, "avx512_by_loops", by_loops)
    name, reason = kernels._choose()
    assert name == "v4" and says in reason


def test_the_emulator_needs_no_package_of_the_extras() -> None:
    code = """
import sys
for name in ("matplotlib", "jinja2"):
    sys.modules[name] = None
import torch
from firstspike import emulator, models
program = emulator.quantize(models.mlp("16-8-4", steps=4))
print(emulator.report(emulator.run(program, torch.rand(5, 16))).text())
from firstspike.cli import app
app(["check", sys.argv[1]])
"""
    done = subprocess.run([sys.executable, "-c", code, str(EXAMPLE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "samples: 5" in done.stdout
