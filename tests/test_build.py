"""What the build refuses, and what it offers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

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
