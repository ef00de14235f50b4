"""Dot products of integers on this processor, and on arm64 in QEMU (`apt install g++-aarch64-linux-gnu qemu-user-static`)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARM = "aarch64-linux-gnu-g++"


@pytest.mark.parametrize(
    ("compiler", "extended", "runner", "together"),
    [
        ("c++", [], [], "2"),
        (ARM, ["-march=armv8.2-a+dotprod"], ["qemu-aarch64-static", "-cpu", "max"], "4"),
        (ARM, ["-march=armv8.2-a+dotprod"], ["qemu-aarch64-static", "-cpu", "cortex-a53"], "2"),
    ],
)
def test_dot_products_are_their_sums(compiler, extended, runner, together, tmp_path):
    """All sizes of rows, blocks and values. `together`: values that are multiplied at once where bytes suffice."""
    if any(shutil.which(tool) is None for tool in (compiler, *runner[:1])):
        pytest.skip(f"needs {compiler} and {runner[:1]}")
    build = [compiler, "-std=c++20", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
    source = ROOT / "cpp/cpu/integer_dot.cpp"
    objects = []
    if extended:
        build.append("-static")
        objects = [str(tmp_path / "extended.o")]
        subprocess.run([*build, *extended, "-DFIRSTSPIKE_EXTENDED", "-c", source, "-o", *objects], check=True)
        build.append("-DFIRSTSPIKE_EXTENDS")
    program = tmp_path / "dots"
    subprocess.run([*build, source, ROOT / "tests/cpp/integer_dot.cpp", *objects, "-o", program], check=True)
    result = subprocess.run([*runner, program], capture_output=True, text=True)
    assert (result.returncode, result.stdout.split()) == (0, [together, "2"]), result.stdout
