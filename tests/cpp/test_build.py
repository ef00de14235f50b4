"""What the build refuses, and which compiled modules run."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from firstspike import backends
from firstspike._base import _core, kernels

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.parametrize(
    ("compiler", "version", "says"),
    [
        *(("MSVC", "19.40", "WSL"), ("GNU", "10.2.1", "found GNU 10.2.1"), ("Clang", "13.0", "found Clang 13.0")),
        *(("AppleClang", "13.1", "found AppleClang 13.1"), ("GNU", "11.1", ""), ("Clang", "14.0", "")),
    ],
)
def test_old_compilers_are_refused(compiler: str, version: str, says: str) -> None:
    given = [f"-DCMAKE_CXX_COMPILER_ID={compiler}", f"-DCMAKE_CXX_COMPILER_VERSION={version}"]
    command = ["cmake", *given, "-P", str(ROOT / "cmake" / "compiler.cmake")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode == 0) == (says == "") and says in " ".join(result.stderr.split())


def test_instruction_sets_are_those_that_the_system_lists() -> None:
    """The processor's own answer, which does not rest on the compiler's runtime library."""
    listing = Path("/proc/cpuinfo")
    if not listing.exists() or platform.machine() != "x86_64":
        pytest.skip("no list of the processor's features")
    flags = set(next(line for line in listing.read_text().splitlines() if line.startswith("flags")).split())
    needed = {
        "v2": {"ssse3", "sse4_1", "sse4_2", "popcnt"},
        "v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"},
        "v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    }
    expected = []
    for name, features in needed.items():
        if not features <= flags:
            break
        expected.append(name)
    assert _core.instruction_sets() == expected


def test_sources_that_are_not_compiled_say_how_to_install(tmp_path: Path) -> None:
    source = Path(kernels.__file__).parents[1]
    shutil.copytree(source, tmp_path / "firstspike", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    command, environment = [sys.executable, "-c", "import firstspike"], {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ImportError: firstspike is not compiled for cpython-3") and "pip install ." in last


@pytest.mark.parametrize(
    ("driver", "runtime", "capability", "says"),
    [
        (12040, 12080, (8, 0), None),  # a runtime runs on any driver of its major version
        (13000, 12080, (9, 0), None),
        (12080, 13000, (9, 0), "built with CUDA 13.0, but the driver knows CUDA up to 12.8 only"),
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
    assert backends()["cuda"]["available"] == available


@pytest.mark.parametrize(("by_loops", "says"), [(False, "the newest"), (True, "AVX-512 by loops")])
def test_the_newest_instruction_set_is_chosen(monkeypatch: pytest.MonkeyPatch, by_loops: bool, says: str) -> None:
    monkeypatch.delenv("FIRSTSPIKE_ISA", raising=False)
    monkeypatch.setattr(kernels, "_available", lambda: ["v3", "v4"])
    monkeypatch.setattr(kernels._core, "avx512_by_loops", by_loops)
    name, reason = kernels._choose()
    assert name == "v4" and says in reason
    monkeypatch.setenv("FIRSTSPIKE_ISA", "v5")
    with pytest.raises(ValueError, match="FIRSTSPIKE_ISA must be one of v3, v4"):
        kernels._choose()
