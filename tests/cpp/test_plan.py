"""The plan divides the work among any number of threads; tests/functional/test_threads.py says that no result depends on it."""

from __future__ import annotations

import pytest

from firstspike import explain, nn

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
def test_algorithms_do_not_depend_on_threads(name: str) -> None:
    few, many = (explain(*LAYERS[name], threads=threads) for threads in (1, 64))
    for one in PASSES:
        shared = [key for key in getattr(few, one) if key in ("lists", "algorithm", "join_tiles", "samples_per_table")]
        assert shared and all(getattr(few, one)[key] == getattr(many, one)[key] for key in shared)
    if few.weight_gradient["algorithm"] != "linear":
        assert few.weight_gradient["parts"] == many.weight_gradient["parts"]
