"""`explain` tells the plan that the kernels follow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from firstspike import SpikeTimes, explain, nn

LAYERS = {
    "linear": ("TTFSLinear(784, 400, steps=8)", (128, 784)),
    "readout": ("Integrate(400, 10, steps=64)", (128, 400)),
    "pooled": ("TTFSLinear(3136, 128, steps=8, avg_pool=2)", (4, 64, 14, 14)),
    "small field": ("TTFSConv2d(1, 32, 3, padding=1, steps=8)", (4, 1, 28, 28)),
    "convolution": ("TTFSConv2d(32, 64, 3, padding=1, avg_pool=2, steps=16)", (4, 32, 28, 28)),
}


RUN = """
import sys, torch
from firstspike import SpikeTimes, nn
torch.set_num_threads(2)
for name, layer, shape in [{rows}]:
    print("layer", name, file=sys.stderr, flush=True)
    times = torch.randint(0, layer.steps, shape, dtype=torch.uint8)
    out = layer(SpikeTimes(times, layer.steps))
    (out if isinstance(out, torch.Tensor) else out.dense()).sum().backward()
"""


def layer_of(name: str) -> tuple[nn.TTFSLinear | nn.TTFSConv2d | nn.Integrate, tuple[int, ...]]:
    source, shape = LAYERS[name]
    return eval(f"nn.{source}"), shape


@pytest.fixture(scope="module")
def printed() -> dict[str, dict[str, dict[str, str]]]:
    """What each pass of each layer wrote about itself when it ran."""
    rows = ", ".join(f"({name!r}, nn.{source}, {shape})" for name, (source, shape) in LAYERS.items())
    result = subprocess.run(
        [sys.executable, "-c", RUN.format(rows=rows)],
        env=os.environ | {"FIRSTSPIKE_VERBOSE": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, dict[str, dict[str, str]]] = {}
    for line in result.stderr.splitlines():
        if line.startswith("layer "):
            found[line.removeprefix("layer ")] = passes = {}
        elif line.startswith("firstspike,cpu,"):
            _, _, name, *items = line.split(",")
            passes[name] = dict(item.split("=") for item in items)
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_the_kernels_follow_the_plan(name: str, printed: dict[str, dict[str, dict[str, str]]]) -> None:
    plan = explain(*layer_of(name), threads=2)
    assert set(printed[name]) == {"forward", "weight_gradient"}  # the input needs no gradient
    for one, ran in printed[name].items():
        assert {key: str(value).lower() for key, value in getattr(plan, one).items()} == ran


def test_algorithms() -> None:
    found = {name: explain(*layer_of(name), threads=1) for name in LAYERS}
    assert {name: plan.forward["lists"] for name, plan in found.items()} == {
        "linear": "by_sample",
        "readout": "by_sample",
        "pooled": "by_sample",
        "small field": "by_field",
        "convolution": "by_line",
    }
    assert {name: plan.weight_gradient["algorithm"] for name, plan in found.items()} == {
        "linear": "linear",
        "readout": "linear",
        "pooled": "linear",
        "small field": "small_field",
        "convolution": "convolution",
    }


def test_batch_is_a_number_a_shape_or_spikes() -> None:
    layer, shape = layer_of("linear")
    times = SpikeTimes.from_dense(torch.zeros(8, *shape))
    assert explain(layer, 128) == explain(layer, shape) == explain(layer, times)
