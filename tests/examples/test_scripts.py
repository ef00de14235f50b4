"""The example scripts run as they stand, and learn."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from firstspike import data

FOLDER = Path(__file__).parents[2] / "examples"


def run(name, *launcher, **environment):
    """Run an example in a process of its own; returns what it printed."""
    done = subprocess.run(
        [sys.executable, *launcher, str(FOLDER / name)],
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
