"""Weights that hold an average pool: equal to torch's pool before the layer, forward and backward, for both timings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from firstspike import SpikeTimes, functional, models, nn

from ..samples import generator, spike_times

SIDES = st.integers(1, 3)


def spikes(*shape: int) -> SpikeTimes:
    return SpikeTimes(spike_times(shape, 8, "mixed", generator(1)), 8)


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 1), st.integers(1, 2))
def test_a_convolution_of_windows(rows: int, columns: int, high: int, wide: int, padding: int, stride: int) -> None:
    x = spikes(2, 3, 4 * rows, 4 * columns)
    layer = nn.WindowedConv2d(
        3, 5, (high * rows, wide * columns), stride=(stride * rows, stride * columns),
        padding=(padding * rows, padding * columns), steps=8, generator=generator(0),
    )  # fmt: skip
    layer = nn.average_before(layer, (rows, columns))
    pooled = F.avg_pool2d(functional.windowed_values(x), (rows, columns))
    expected = F.conv2d(pooled, layer.weight, stride=stride, padding=padding)
    close(layer.current(x), expected)
    ours, theirs = (torch.autograd.grad(y.square().sum(), layer.weight)[0] for y in (layer.current(x), expected))
    close(ours, theirs)


@pytest.mark.parametrize("kind", [nn.Integrate, nn.TTFSLinear, nn.WindowedReadout, nn.WindowedLinear])
def test_fully_connected_layers(kind: Any) -> None:
    x, shape = spikes(4, 3, 4, 6), (3, 4, 6)
    options: dict[str, Any] = {} if kind is nn.WindowedReadout else {"steps": 8}
    options |= {} if "Windowed" in kind.__name__ else {"affine": None, "bias": False}
    layer = nn.average_before(kind(72, 7, generator=generator(0), **options), (1, 2), shape)
    assert layer.weight.shape == (7, 36)
    if "Windowed" in kind.__name__:
        pooled = F.avg_pool2d(functional.windowed_values(x), (1, 2)).flatten(1)
        return close(layer.current(x), pooled @ layer.weight.T)
    pooled = F.avg_pool2d(x.dense().flatten(0, 1), (1, 2)).unflatten(0, (8, 4)).flatten(2)
    membrane = layer(x) if kind is nn.Integrate else layer.membrane(x)
    close(membrane, (pooled @ layer.weight.T).cumsum(0))


def test_a_square_pool_is_the_one_of_the_kernels() -> None:
    x = spikes(3, 4, 6, 6)
    tied = nn.TTFSConv2d(4, 5, 6, stride=2, padding=2, steps=8, affine=None, bias=False, generator=generator(0))
    tied = nn.average_before(tied, 2)
    pooling = nn.TTFSConv2d(4, 5, 3, padding=1, steps=8, affine=None, bias=False, avg_pool=2)
    pooling.weight = tied.weight
    close(tied.membrane(x), pooling.membrane(x))


@pytest.mark.parametrize("timing", ["step", "windowed"])
def test_folding_makes_the_weights_separate_and_changes_nothing(timing: str) -> None:
    net = models.build("4C3-AP1x2-6C3-AP2x1-5", input_shape=(1, 8, 8), steps=8, timing=timing, generator=generator(0)).eval()
    x = torch.rand(9, 1, 8, 8, generator=generator(1))
    expected = net(x)
    for layer in net.layers:
        if isinstance(layer, nn.Synapses):
            layer.fold()
    assert net.layers[1].averaging is None and net.layers[1].weight.shape == (6, 4, 3, 6)
    close(net(x), expected)


def test_weights_keep_their_variance() -> None:
    plain, tied = (nn.TTFSLinear(4 * 8 * 32, 200, steps=8, generator=generator(0)) for _ in range(2))
    nn.average_before(tied, (2, 4), (4, 8, 32))
    ratio = tied.effective_weight_and_bias()[0].std() / plain.weight.std()
    assert 0.97 < ratio < 1.03


CONV = nn.TTFSConv2d(2, 3, (3, 4), stride=(1, 2), padding=(1, 2), steps=4)
BAD: list[tuple[Any, str]] = [
    (lambda: nn.average_before(torch.nn.Linear(4, 2), 2), "layer"),
    (lambda: nn.average_before(nn.average_before(nn.TTFSLinear(16, 2, steps=4), 2, (1, 4, 4)), 2, (1, 4, 4)), "layer"),
    (lambda: nn.average_before(CONV, (2, 1)), "kernel_size"),
    (lambda: nn.average_before(CONV, (1, 4)), "kernel_size"),
    (lambda: nn.average_before(nn.TTFSLinear(16, 2, steps=4), 2), "shape"),
    (lambda: nn.average_before(nn.TTFSLinear(16, 2, steps=4), 2, (2, 2, 3)), "shape"),
    (lambda: nn.average_before(nn.TTFSLinear(16, 2, steps=4), 3, (1, 4, 4)), "kernel_size"),
    (lambda: models.build("4C3-AP1x3-5", input_shape=(1, 8, 8), steps=4), "divide"),
    (lambda: models.build("4C3-AP1x2-R(4C3)-5", input_shape=(1, 8, 8), steps=4), "one direction"),
]


@pytest.mark.parametrize(("call", "name"), BAD)
def test_refusals(call: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        call()
