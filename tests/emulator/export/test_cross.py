"""The exported C99 on other machines: no library is needed, and a microcontroller's compiler takes it.

Some tests cross-compile with zig (`pip install ziglang`, or `nox -s cross`), some with gcc for Cortex-M, and run in QEMU
(`apt install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm`); the others use the system's `cc`, `clang` and `nm`.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.sections import cortex

from firstspike import data, models
from firstspike import emulator as em

CC, NM, MAKE = shutil.which("cc"), shutil.which("nm"), shutil.which("make")
ZIG = f"{sys.executable} -m ziglang cc"
FLAGS = "-std=c99 -Os -Wall -Wextra -Werror -pedantic"
needs_zig = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None or MAKE is None, reason="no ziglang, or no make")


@pytest.fixture(scope="module", params=["digits-cnn", "digits-mlp"])
def exported(request, tmp_path_factory):
    pytest.importorskip("sklearn")
    train, test = data.load("digits", train=True), data.load("digits", train=False)
    net, folder = models.load_pretrained(request.param), tmp_path_factory.mktemp(request.param)
    program = em.quantize(net, "loihi-like", calibration=train.images[:200] / 255)
    return em.export_c(program, folder, samples=test.images[:10])


def make(exported: em.Exported, target: str, compiler: str, flags: str = FLAGS) -> tuple[Path, str]:
    folder = exported.files[0].parent
    for old in [*folder.glob("*.o"), folder / "vectors"]:
        old.unlink(missing_ok=True)
    command = [str(MAKE), "-s", "-C", str(folder), target, f"CC={compiler}", f"CFLAGS={flags}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return folder, done.stdout


@pytest.mark.skipif(CC is None or NM is None or MAKE is None, reason="no cc, nm or make")
def test_nothing_is_linked(exported):
    folder, _ = make(exported, "objects", str(CC), f"{FLAGS} -ffreestanding")
    for name in ("fs_core.o", "fs_network.o"):
        found = subprocess.run([str(NM), "-u", str(folder / name)], capture_output=True, text=True, check=True).stdout
        assert [word for word in found.split() if word != "U" and not word.lstrip("_").startswith("fs_")] == []


@needs_zig
def test_a_cortex_m4_takes_it_with_the_sizes_that_are_told(exported):
    folder, _ = make(exported, "objects", f"{ZIG} -target thumb-freestanding-eabi -mcpu=cortex_m4")
    assert (folder / "fs_core.o").read_bytes()[18:20] == b"\x28\x00"  # ELF's machine: ARM
    if shutil.which("size") is not None:
        text = subprocess.run(["size", str(folder / "fs_network.o")], capture_output=True, text=True, check=True).stdout
        flash, initialised, zeroed = map(int, text.splitlines()[1].split()[:3])
        assert (initialised, zeroed) == (0, 0)  # all tables are const
        assert exported.table_bytes <= flash < exported.table_bytes + 600  # and the descriptions of the layers


@needs_zig
@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="runs a program for 32-bit x86")
def test_a_32_bit_machine_computes_the_same(exported):
    _, text = make(exported, "test", f"{ZIG} -target x86-linux-musl -static")
    assert "equal to the emulator: 10 of 10 samples" in text
    state = int(re.search(r"RAM: (\d+)", text)[1])
    assert exported.state_bytes <= state < exported.state_bytes + 8  # padding


@pytest.mark.skipif(shutil.which("clang") is None or MAKE is None, reason="no clang, or no make")
def test_clang_has_no_warning(exported):
    flags = "-std=c99 -O2 -Wall -Wextra -Wconversion -Wpedantic -Werror"
    _, text = make(exported, "test", "clang", flags)
    assert "equal to the emulator: 10 of 10 samples" in text


@pytest.mark.skipif(bool(cortex.MISSING), reason=f"no {' and no '.join(cortex.MISSING)}")
@pytest.mark.parametrize("cpu", cortex.BOARDS)
@pytest.mark.parametrize("timing", ["step", "windowed"])
def test_on_a_microcontroller_in_qemu(cpu, timing, tmp_path):
    """From pixels to class, every neuron equal to the emulator's; gcc has no warning."""
    draw = torch.Generator().manual_seed(0)
    net = models.build("6C3-AP2-12-5", input_shape=(1, 8, 8), steps=8, timing=timing, generator=draw).eval()
    x = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8, generator=draw)
    program = em.quantize(net, bits=4, calibration=x)
    row = cortex.spiking(program, x, cpu, tmp_path)
    assert row["classes"] == em.run(program, x).predictions.tolist()
    assert row["instructions"] > 1000 and row["code"] < 6000 and row["ram"] < 6000
