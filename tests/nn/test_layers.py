"""Layers against the float64 reference, on single-spike and on dense trains, and bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, nn, reference
from firstspike.surrogate import atan

from ..samples import generator, spike_times

STEPS = 6
NEURON = {"threshold": 0.9, "decay": 0.9, "surrogate": atan(2.0)}


def train(*shape: int, seed: int = 1) -> SpikeTimes:
    """Times with a third of them silent."""
    return SpikeTimes(spike_times(shape, STEPS, "mixed", generator(seed)), STEPS)


def double(layer: nn.Synapses) -> tuple[Tensor, Tensor]:
    """Weight and bias in float64, the bias made different from 0 first."""
    with torch.no_grad():
        layer.bias.uniform_(0, 0.1, generator=generator(7))
    weight, bias = layer.effective_weight_and_bias()
    return weight.detach().double(), bias.detach().double()


def same_times(got: SpikeTimes, expected: reference.SpikeTrain) -> None:
    """Equal times, of which there is a mixture."""
    assert torch.equal(got.dense().double(), expected.dense())
    assert 0.1 < got.silent.double().mean() < 0.9


def test_direct_linear() -> None:
    layer = nn.DirectLinear(20, 30, steps=STEPS, generator=generator(0), **NEURON)
    weight, bias = double(layer)
    x = torch.rand(4, 20, generator=generator(1))
    same_times(layer(x), reference.ramp(x.double() @ weight.T + bias, STEPS, **NEURON))


def test_direct_conv2d() -> None:
    layer = nn.DirectConv2d(3, 8, 5, stride=2, padding=1, steps=STEPS, generator=generator(0), **NEURON)
    weight, bias = double(layer)
    x = torch.rand(4, 3, 9, 12, generator=generator(1))
    current = torch.nn.functional.conv2d(x.double(), weight, bias, 2, 1)
    out = layer(x)
    same_times(out, reference.ramp(current, STEPS, **NEURON))
    assert out.times.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer(x.transpose(2, 3).contiguous().transpose(2, 3)).times, out.times)


@pytest.mark.parametrize("pool", [1, 2])
def test_ttfs_layers(pool: int) -> None:
    linear = nn.TTFSLinear(3 * (8 // pool) ** 2, 30, avg_pool=pool, steps=STEPS, generator=generator(0), **NEURON)
    x = train(4, 3, 8, 8)
    expected = reference.linear(x, *double(linear), avg_pool=pool, **NEURON)
    same_times(linear(x), expected)
    shape: dict[str, Any] = {"stride": 2, "padding": 1, "avg_pool": pool}
    conv = nn.TTFSConv2d(3, 8, 3, **shape, steps=STEPS, generator=generator(0), **NEURON)
    x = train(4, 3, 8, 12)
    expected = reference.conv2d(x, *double(conv), **shape, **NEURON)
    same_times(conv(x), expected)


@pytest.mark.parametrize("pool", [1, 2])
def test_integrate_and_membrane(pool: int) -> None:
    sizes = (3 * (8 // pool) ** 2, 10)
    layer = nn.Integrate(*sizes, avg_pool=pool, decay=0.9, steps=STEPS, generator=generator(0))
    weight, bias = double(layer)
    x = train(4, 3, 8, 8)
    expected = reference.integrate(x, weight, bias, avg_pool=pool, decay=0.9)
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-4, atol=1e-5)
    firing = nn.TTFSLinear(*sizes, avg_pool=pool, decay=0.9, steps=STEPS)
    firing.load_state_dict(layer.state_dict())
    torch.testing.assert_close(firing.membrane(x), layer(x))


def test_membrane_of_a_directly_coded_layer() -> None:
    layer = nn.DirectLinear(5, 3, steps=STEPS, decay=0.5, generator=generator(0))
    x = torch.rand(2, 5, generator=generator(1))
    current = x @ layer.weight.T
    expected = torch.stack([current * (2 - 0.5**t) for t in range(STEPS)])  # 1 + 1/2 + ... + 1/2^t
    torch.testing.assert_close(layer.membrane(x), expected)


DENSE = [
    (nn.TTFSLinear, (27, 6), {}, (4, 27)),
    (nn.TTFSLinear, (27, 6), {"avg_pool": 2, **NEURON}, (4, 3, 6, 6)),
    (nn.TTFSConv2d, (3, 6, 3), {"stride": 2, "padding": 1, "avg_pool": 2}, (4, 3, 8, 8)),
    (nn.Integrate, (27, 6), {"avg_pool": 2}, (4, 3, 6, 6)),
    (nn.Integrate, (27, 6), {"decay": 0.5}, (4, 27)),
]


@pytest.mark.parametrize(("kind", "sizes", "options", "shape"), DENSE)
def test_dense_train_of_single_spikes_gives_the_same(kind: Any, sizes: tuple, options: dict, shape: tuple) -> None:
    layer = kind(*sizes, steps=STEPS, generator=generator(0), **options)
    dense = train(*shape).dense()
    results = []
    for single in (True, False):
        x = dense.clone().requires_grad_()
        out = layer(SpikeTimes.from_dense(x) if single else x)
        y = out.dense() if isinstance(out, SpikeTimes) else out
        grads = torch.autograd.grad(y, [x, layer.weight, layer.bias], torch.randn(y.shape, generator=generator(3)))
        results.append((y.detach(), *grads))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [nn.TTFSConv2d, nn.DirectConv2d])
def test_padding_that_keeps_the_size(kind: Any) -> None:
    layer = kind(3, 5, (5, 3), padding="same", steps=STEPS)
    x = torch.rand(2, 3, 7, 8, generator=generator(1)) if kind is nn.DirectConv2d else train(2, 3, 7, 8)
    assert layer.padding == (2, 1) == layer.settings()["padding"] and layer(x).shape == (2, 5, 7, 8)
