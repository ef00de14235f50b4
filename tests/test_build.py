"""What the build refuses, and what it offers."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from firstspike._base import _core

ROOT = Path(__file__).resolve().parents[1]


def configure(compiler: str, version: str) -> subprocess.CompletedProcess[str]:
    """Run the compiler check alone."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    found = [f"-DCMAKE_CXX_COMPILER_ID={compiler}", f"-DCMAKE_CXX_COMPILER_VERSION={version}"]
    script = str(ROOT / "cmake" / "compiler.cmake")
    return subprocess.run([cmake, *found, "-P", script], capture_output=True, text=True)


def test_msvc_is_refused_with_the_way_out() -> None:
    result = configure("MSVC", "19.40")
    assert result.returncode != 0
    message = " ".join(result.stderr.split())
    assert "needs GCC 11, clang 14" in message and "WSL" in message


@pytest.mark.parametrize(("compiler", "version"), [("GNU", "10.2.1"), ("Clang", "13.0"), ("AppleClang", "13.1")])
def test_old_compilers_are_refused(compiler: str, version: str) -> None:
    result = configure(compiler, version)
    assert result.returncode != 0 and f"found {compiler} {version}" in " ".join(result.stderr.split())


@pytest.mark.parametrize(("compiler", "version"), [("GNU", "11.1"), ("Clang", "14.0"), ("AppleClang", "15.0")])
def test_others_are_not(compiler: str, version: str) -> None:
    assert configure(compiler, version).returncode == 0


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
