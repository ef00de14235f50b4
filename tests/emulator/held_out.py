"""Pixels to class in three ways: the core, the exported C, and the NumPy twins, on random nets of both kinds.

`python -m tests.emulator.held_out 1000000` compares so many neurons; it prints how many differ.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from firstspike import emulator as em
from firstspike import models, nn
from firstspike.emulator.program import pixels

from . import golden, golden_windowed
from .export.test_exporting import compiled

SPECS = ("12C3-AP2-18C3-AP2-40-5", "128-300-70-7", "9C5s2-30-6", "8C3-R(8C3-11C3)-AP2-20-5")


def program_of(seed: int) -> tuple[em.Program, torch.Tensor]:
    """A random net as a program, and 20 random images of its size, half of their pixels 0."""
    draw = torch.Generator().manual_seed(seed)
    pick = np.random.default_rng(seed)
    windows = bool(seed % 2)
    chip = str(pick.choice(["generic8", "loihi-like", "odin-like"][: 2 if windows else 3]))
    options = {"steps": int(pick.integers(2, 24)), "generator": draw, "input_shape": (2, 8, 8)}
    if windows:
        options |= {"timing": "windowed", "pooling": "avg"}
    else:
        options |= {"bias": chip != "odin-like", "decay": 1.0 if chip == "odin-like" else float(pick.choice([1.0, 0.75]))}
    net = models.build(SPECS[seed // 2 % 4], **options).eval()
    images = torch.randint(0, 256, (20, 2, 8, 8), dtype=torch.uint8, generator=draw)
    images *= torch.rand(images.shape, generator=draw) < 0.5
    if not windows and pick.random() < 0.7:
        net.normalize = nn.Normalize([0.3, 0.15], [0.3, 0.5])
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Synapses) and layer.bias is not None and not windows:
                layer.bias.copy_(0.1 * torch.randn(layer.bias.shape, generator=draw))
    return em.quantize(net, chip, bits=int(pick.choice([4, 8])) if chip != "odin-like" else 4, calibration=images), images


def compare(seed: int, folder: Path) -> tuple[int, int]:
    """(neurons compared, differences between core and twin); AssertionError where the C program finds one."""
    program, images = program_of(seed)
    ran = em.run(program, images, trace=len(images))
    em.export_c(program, folder, samples=images)
    status, text = compiled(folder)
    assert status == 0 and f"{len(images)} of {len(images)} samples" in text, (seed, text)
    times, neurons = ran.trace["input_times"], [ran.trace[f"times.{n}"] for n in range(len(program.layers))]
    different = 0
    if program.pixels is None:
        made = golden_windowed.step_by_step(program, times)
        different += sum(int((fired != kept).sum()) for (fired, _, _), kept in zip(made, neurons, strict=True))
        different += int((made[-1][1][:, -1] != ran.scores).sum())
        different += int((em.IntegerNet(program)(images).numpy() != ran.scores).sum())  # the closed form
    for b in range(len(images) if program.pixels is not None else 0):
        first = golden.pixel_times(program.pixels, pixels.bytes_of(program.pixels, images[b : b + 1])[0])
        made = golden.run(program.layers, program.total_steps, first).times
        different += sum(int((one != kept[b]).sum()) for one, kept in zip((first, *made), (times, *neurons), strict=True))
    first = 0 if program.pixels is None else program.pixels.neurons
    return len(images) * (first + sum(layer.neurons for layer in program.layers)), different


def main(wanted: int) -> int:
    """Compare that many neurons; 1 if any differs."""
    seed = neurons = different = 0
    while neurons < wanted:
        with tempfile.TemporaryDirectory() as folder:
            more, wrong = compare(seed, Path(folder))
        seed, neurons, different = seed + 1, neurons + more, different + wrong
    print(f"{neurons} neurons of {seed} nets from pixels to class, core, C and twin: {different} differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
