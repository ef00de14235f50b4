"""The plan divides the work among any number of threads, and no result depends on it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from firstspike import explain, nn
from firstspike._base import kernels

# The benchmark's layers and the shapes of their inputs.
LAYERS: dict[str, tuple[nn.TTFSLinear | nn.TTFSConv2d | nn.Integrate, tuple[int, ...]]] = {
    "784-400": (nn.TTFSLinear(784, 400, steps=8), (128, 784)),
    "400-400": (nn.TTFSLinear(400, 400, steps=8), (128, 400)),
    "400-10": (nn.Integrate(400, 10, steps=8), (128, 400)),
    "32C3": (nn.TTFSConv2d(1, 32, 3, padding=1, steps=8), (64, 1, 28, 28)),
    "64C3": (nn.TTFSConv2d(32, 64, 3, padding=1, avg_pool=2, steps=8), (64, 32, 28, 28)),
    "3136-128": (nn.TTFSLinear(3136, 128, steps=8, avg_pool=2), (64, 64, 14, 14)),
    "128-10": (nn.Integrate(128, 10, steps=8), (64, 128)),
    "wide": (nn.TTFSLinear(784, 4096, steps=8), (64, 784)),
}
# Too little work for two tasks per thread on 64 threads (and 16): a task needs some 10 microseconds.
SMALL = {"400-10", "128-10"}
PASSES = ("forward", "input_gradient", "weight_gradient")


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("threads", [1, 2, 8, 16, 64])
def test_each_thread_has_two_tasks(name: str, threads: int) -> None:
    plan = explain(*LAYERS[name], threads=threads)
    wanted = 2 * threads
    if name in SMALL:
        wanted = min(wanted, {"400-10": 16, "128-10": 3}[name])
    if name == "32C3" and threads == 64:
        assert plan.weight_gradient["tasks"] == 128
    assert {one: int(getattr(plan, one)["tasks"]) >= wanted for one in PASSES} == dict.fromkeys(PASSES, True)


@pytest.mark.parametrize("name", LAYERS)
def test_more_threads_never_have_fewer_tasks(name: str) -> None:
    plans = [explain(*LAYERS[name], threads=threads) for threads in (1, 2, 4, 8, 16, 32, 64, 128)]
    for one in PASSES:
        tasks = [int(getattr(plan, one)["tasks"]) for plan in plans]
        assert all(a <= b for a, b in pairwise(tasks)), (one, tasks)


@pytest.mark.parametrize("name", LAYERS)
def test_algorithms_do_not_depend_on_threads(name: str) -> None:
    few, many = (explain(*LAYERS[name], threads=threads) for threads in (1, 64))
    for one in PASSES:
        shared = [key for key in getattr(few, one) if key in ("lists", "algorithm", "join_tiles", "samples_per_table")]
        assert shared and all(getattr(few, one)[key] == getattr(many, one)[key] for key in shared)
    if few.weight_gradient["algorithm"] != "linear":
        assert few.weight_gradient["parts"] == many.weight_gradient["parts"]


# batch, height, width, channels, pool, kernel, stride, padding, outputs, steps
GEOMETRIES = {
    "linear": [33, 1, 1, 130, 1, 1, 1, 1, 1, 0, 0, 150, 8],
    "readout": [70, 1, 1, 100, 1, 1, 1, 1, 1, 0, 0, 10, 20],
    "map": [9, 8, 6, 21, 2, 4, 3, 1, 1, 0, 0, 70, 8],
    "small field": [3, 12, 11, 2, 1, 3, 3, 1, 1, 1, 1, 40, 8],
    "convolution": [3, 12, 12, 33, 2, 3, 3, 1, 1, 1, 1, 70, 8],
    "tall kernel": [2, 9, 10, 70, 1, 5, 4, 2, 3, 2, 1, 20, 8],
}


def results(sizes: list[int], decay: float, threads: int) -> list[Tensor]:
    """Times, support and all gradients of a layer."""
    batch, height, width, channels, pool, kernel_y, kernel_x, *_, outputs, steps = sizes
    generator = torch.Generator().manual_seed(3)
    array, cpu = torch.utils.dlpack.to_dlpack, kernels.cpu
    out_y = (height // pool + 2 * sizes[9] - kernel_y) // sizes[7] + 1
    out_x = (width // pool + 2 * sizes[10] - kernel_x) // sizes[8] + 1
    times = torch.randint(0, 2 * steps, (batch, height, width, channels), generator=generator)
    times = times.where(times < steps, 255).to(torch.uint8)
    weight = torch.randn(outputs, channels, kernel_y, kernel_x, generator=generator)
    weight *= pool * (steps / weight[0].numel()) ** 0.5
    fired = torch.empty(batch, out_y, out_x, outputs, dtype=torch.uint8)
    neuron, call = (1.0, decay, 0, 1.0, 0.0), (array(times), array(weight))
    found = cpu.fire_layer(sizes, neuron, *call, None, True, threads, array(fired))
    offset, slope, place = (torch.from_numpy(x) for x in found)
    dense = torch.randn(steps, batch * height * width, channels, generator=generator)
    dense *= torch.rand(dense.shape, generator=generator) < 1 / steps
    at_input = cpu.support_from_dense(steps, batch * height * width, channels, array(dense), threads)
    in_offset, _, in_place = (torch.from_numpy(x) for x in at_input)
    gradient = torch.randn(slope.shape, generator=generator)
    outs = [torch.full((in_place.shape[1],), 7.0), torch.full_like(weight, 7.0), torch.full((outputs,), 7.0)]
    cpu.layer_gradients(
        sizes,
        neuron,
        array(times),
        array(weight),
        (array(offset), array(place)),
        array(slope),
        array(gradient),
        (array(in_offset), array(in_place)),
        threads,
        *(array(x) for x in outs),
    )
    return [fired, offset, slope, place, *outs]


@pytest.mark.parametrize("decay", [1.0, 0.9])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_results_keep_their_bits(name: str, decay: float) -> None:
    one = results(GEOMETRIES[name], decay, 1)
    assert one[2].numel() > 0
    for threads in (2, 7, 64):
        for a, b in zip(one, results(GEOMETRIES[name], decay, threads), strict=True):
            assert torch.equal(a, b)
