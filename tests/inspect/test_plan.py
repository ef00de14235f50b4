"""`explain` tells the plan that the kernels follow; what the functions of `firstspike.inspect` refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from firstspike import SpikeTimes, encode, explain, inspect, models, nn, profile
from firstspike.inspect import layer_current, synaptic_operations

from ..samples import refusals

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


def test_batch_is_a_number_a_shape_or_spikes() -> None:
    layer, shape = layer_of("linear")
    times = SpikeTimes.from_dense(torch.zeros(8, *shape))
    assert explain(layer, 128) == explain(layer, shape) == explain(layer, times)


LINEAR, CONVOLUTION, DIRECT = (nn.TTFSLinear(9, 4, steps=8), nn.TTFSConv2d(2, 4, 3, steps=4), nn.DirectLinear(9, 4, steps=8))
NET = models.mlp("6-5-3", steps=4)
TRANSPOSED = torch.nn.ConvTranspose2d(2, 2, 3)
MIRRORED = torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")


def current(layer: nn.Synapses, *shape: int) -> torch.Tensor:
    return layer_current(layer, encode.latency(torch.rand(shape), steps=4))


def without_a_pass() -> Any:
    with inspect.Monitor(NET) as seen:
        pass
    return seen.table()


def sequential(*layers: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Sequential(*layers)


test_calls = refusals(
    (lambda: explain(CONVOLUTION, torch.rand(2, 1, 8, 8)), ValueError, "batch"),
    (lambda: explain(DIRECT, 1), TypeError, "layer"),
    (lambda: explain(CONVOLUTION, 4), ValueError, "batch"),
    (lambda: explain(CONVOLUTION, (4, 9)), ValueError, "batch"),
    (lambda: explain(LINEAR, (4, 8)), ValueError, "9"),
    (lambda: explain(LINEAR, 4, 0), ValueError, "threads"),
    (lambda: explain(LINEAR, 4.5), TypeError, "batch"),
    (lambda: inspect.Monitor(3), TypeError, "net"),
    (lambda: inspect.Monitor(models.prepare_for_inference(NET)), TypeError, "prepare_for_inference"),
    (without_a_pass, RuntimeError, "with"),
    (lambda: inspect.counts(models.prepare_for_inference(NET), torch.ones(1, 6)), TypeError, "prepare_for_inference"),
    (lambda: inspect.counts(sequential(torch.nn.Linear(64, 32), nn.TTFSNode()), torch.ones(1, 64)), ValueError, "both"),
    (lambda: inspect.counts(sequential(TRANSPOSED), torch.ones(1, 2, 5, 5)), TypeError, r"net\.0"),
    (lambda: inspect.counts(sequential(MIRRORED), torch.ones(1, 2, 5, 5)), ValueError, r"net\.0"),
    (lambda: synaptic_operations(torch.ones(1, 2, 5, 5), TRANSPOSED), TypeError, "layer"),
    (lambda: synaptic_operations(torch.ones(1, 2, 5, 5), MIRRORED), ValueError, "layer"),
    (lambda: synaptic_operations(torch.ones(1, 7), LINEAR), ValueError, "events"),
    (lambda: synaptic_operations(torch.ones(9), LINEAR), ValueError, "events"),
    (lambda: synaptic_operations(torch.ones(1, 2), CONVOLUTION), ValueError, "events"),
    (lambda: synaptic_operations(torch.ones(1, 3, 5, 5), CONVOLUTION), ValueError, "events"),
    (lambda: synaptic_operations(torch.ones(1, 4), nn.TTFSLinear(4, 3, steps=4, avg_pool=2)), ValueError, "events"),
    (lambda: profile(LINEAR, SpikeTimes(torch.zeros(0, 9, dtype=torch.uint8), 8)), ValueError, "x"),
    (lambda: profile(sequential(torch.nn.Linear(6, 6), *NET.layers), torch.rand(2, 6)), ValueError, "net .*both"),
    (lambda: inspect.layer_signals(NET, torch.rand(2, 6), torch.tensor([0, 3])), ValueError, r"labels .*0\.\.2"),
    (lambda: inspect.layer_signals(LINEAR, torch.rand(2, 6), torch.tensor([0, 1])), TypeError, "model"),
    (lambda: current(CONVOLUTION, 2, 4), ValueError, "before"),
    (lambda: current(CONVOLUTION, 2, 3, 5, 5), ValueError, "before"),
    (lambda: current(CONVOLUTION, 2, 2, 2, 5), ValueError, "before"),
    (lambda: current(nn.TTFSConv2d(1, 4, 1, steps=4, avg_pool=7), 2, 1, 5, 5), ValueError, "before"),
    (lambda: current(nn.TTFSLinear(4, 2, steps=4, avg_pool=2), 2, 4), ValueError, "before"),
    (lambda: current(LINEAR, 2, 5), ValueError, "before"),
)
