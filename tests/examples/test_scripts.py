"""The example scripts run as they stand, and learn."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from firstspike import data

FOLDER = Path(__file__).parents[2] / "examples"


def run(name, *launcher, arguments=(), **environment):
    """Run an example in a process of its own; returns what it printed."""
    done = subprocess.run(
        [sys.executable, *launcher, str(FOLDER / name), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def accuracy(printed):
    return float(re.findall(r"test accuracy ([\d.]+) ?%", printed)[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("own_loop.py", 85), ("events.py", 90), ("residual.py", 70)])
def test_script(name, least):
    assert accuracy(run(name)) > least


@pytest.mark.slow
def test_ddp():
    assert accuracy(run("ddp.py", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")) > 85


@pytest.mark.slow
def test_compile():
    assert run("compile.py") == "compiled and eager agree\n"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="lightning is not installed")
def test_lightning():
    assert accuracy(run("with_lightning.py")) > 85


@pytest.mark.slow
def test_speech():
    try:
        data.load("spoken-digits", train=False, download=False)
    except data.NotAvailable as missing:
        pytest.skip(str(missing))
    float32, chip = re.findall(r"test accuracy ([\d.]+)%", run("speech.py"))
    assert float(float32) > 97 and float(chip) > 97


@pytest.mark.slow
def test_nmnist(tmp_path):
    """On made-up recordings in the format of the data set: a digit is a place in the picture."""
    draw = np.random.default_rng(0)
    for name, first, count in (("train1K", 1, 100), ("test100", 60001, 20)):
        lines = ["#sample #class"]
        for number in range(first, first + count):
            label, seen = number % 10, np.zeros((80, 5), np.uint8)
            seen[:, 0] = 6 * (label % 5) + draw.integers(0, 6, 80)
            seen[:, 1] = 16 * (label // 5) + draw.integers(0, 16, 80)
            times = np.sort(draw.integers(0, 100_000, 80)) | draw.integers(0, 2, 80) << 23
            seen[:, 2:] = times[:, None] >> [16, 8, 0] & 255
            seen.tofile(tmp_path / f"{number}.bs2")
            lines.append(f"{number}\t{label}")
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    printed = run("nmnist.py", arguments=[str(tmp_path)])
    assert accuracy(printed) > 80 and "fits the chip: yes" in printed


def test_every_script_has_a_test():
    here = Path(__file__).read_text()
    assert [path.name for path in FOLDER.glob("*.py") if f'"{path.name}"' not in here] == []


@pytest.mark.slow
def test_mnist():
    """The README's example, on MNIST where it can be had."""
    from firstspike import data

    try:
        data.load("mnist", train=False)
    except data.NotAvailable as error:
        pytest.skip(str(error))
    assert accuracy(run("mnist.py")) > 95
