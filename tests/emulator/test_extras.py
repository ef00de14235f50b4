"""The emulator needs no package of the extras."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
sys.modules.update(matplotlib=None, jinja2=None)
import torch
from firstspike import emulator, models
program = emulator.quantize(models.mlp("16-8-4", steps=4))
print(emulator.report(emulator.run(program, torch.rand(5, 16))).text())
from firstspike.cli import app
app(["check", sys.argv[1]])
"""


def test_without_matplotlib_and_jinja() -> None:
    example = str(Path(__file__).resolve().parents[2] / "examples" / "digits.toml")
    done = subprocess.run([sys.executable, "-c", CODE, example], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
