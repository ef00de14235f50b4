"""What the functions of `firstspike.inspect` refuse: call, error, and the argument that the message names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from firstspike import SpikeTimes, encode, explain, inspect, models, nn, profile
from firstspike.inspect import OperationCounter, layer_current, synaptic_operations

LINEAR, CONVOLUTION, DIRECT = (
    nn.TTFSLinear(9, 4, steps=8),
    nn.TTFSConv2d(2, 4, 3, steps=4),
    nn.DirectLinear(9, 4, steps=8),
)
NET = models.mlp("6-5-3", steps=4)
TRANSPOSED = torch.nn.ConvTranspose2d(2, 2, 3)
MIRRORED = torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")


def current(layer: nn.Synapse, *shape: int) -> torch.Tensor:
    return layer_current(layer, encode.latency(torch.rand(shape), steps=4))


def without_a_pass() -> Any:
    with inspect.Monitor(NET) as seen:
        pass
    return seen.table()


def sequential(*layers: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Sequential(*layers)


CALLS: list[tuple[Any, type[Exception], str]] = [
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
    (lambda: OperationCounter(models.prepare_for_inference(NET)), TypeError, "prepare_for_inference"),
    (lambda: OperationCounter(sequential(torch.nn.Linear(64, 32), nn.TTFSNode())), TypeError, "TTFSNode"),
    (lambda: OperationCounter(sequential(TRANSPOSED)), TypeError, r"model\.0"),
    (lambda: OperationCounter(sequential(MIRRORED)), ValueError, r"model\.0"),
    (lambda: synaptic_operations(torch.ones(1, 2, 5, 5), TRANSPOSED), TypeError, "layer"),
    (lambda: synaptic_operations(torch.ones(1, 2, 5, 5), MIRRORED), ValueError, "layer"),
    (lambda: synaptic_operations(torch.ones(1, 7), LINEAR), ValueError, "events"),
    (lambda: synaptic_operations(torch.ones(9), LINEAR), ValueError, "events"),
    (lambda: synaptic_operations(torch.ones(1, 2), CONVOLUTION), ValueError, "events"),
    (lambda: synaptic_operations(torch.ones(1, 3, 5, 5), CONVOLUTION), ValueError, "events"),
    (lambda: synaptic_operations(torch.ones(1, 4), nn.TTFSLinear(4, 3, steps=4, avg_pool=2)), ValueError, "events"),
    (lambda: profile(LINEAR, SpikeTimes(torch.zeros(0, 9, dtype=torch.uint8), 8)), ValueError, "x"),
    (lambda: profile(torch.nn.Linear(2, 2), torch.zeros(1, 2)), ValueError, "net"),
    (
        lambda: profile(sequential(torch.nn.Linear(6, 6), *NET.layers), torch.rand(2, 6)),
        ValueError,
        "net .*Linear at '0'",
    ),
    (lambda: inspect.layer_signals(NET, torch.rand(2, 6), torch.tensor([0, 3])), ValueError, r"labels .*0\.\.2"),
    (lambda: inspect.layer_signals(LINEAR, torch.rand(2, 6), torch.tensor([0, 1])), TypeError, "model"),
    (lambda: current(CONVOLUTION, 2, 4), ValueError, "before"),
    (lambda: current(CONVOLUTION, 2, 3, 5, 5), ValueError, "before"),
    (lambda: current(CONVOLUTION, 2, 2, 2, 5), ValueError, "before"),
    (lambda: current(nn.TTFSConv2d(1, 4, 1, steps=4, avg_pool=7), 2, 1, 5, 5), ValueError, "before"),
    (lambda: current(nn.TTFSLinear(4, 2, steps=4, avg_pool=2), 2, 4), ValueError, "before"),
    (lambda: current(LINEAR, 2, 5), ValueError, "before"),
]


@pytest.mark.parametrize(("call", "error", "named"), CALLS)
def test_calls(call: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        call()
