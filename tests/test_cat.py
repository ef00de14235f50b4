"""`firstspike.cat`: the bytes side by side, and the gradient of a layer on them as of the sum of two products."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import firstspike as fs
from firstspike import SpikeTimes, functional
from firstspike.surrogate import atan, triangle

from .samples import generator, spike_times


def current(*shape: int, seed: int = 0) -> Tensor:
    """A current that wants a gradient, of which some neurons fire."""
    return torch.rand(shape, generator=generator(seed), dtype=torch.float32).mul(0.6).requires_grad_()


def dense_gradients(parts: list[Tensor], dim: int, gradient: Tensor, steps: int) -> list[Tensor]:
    """Of the same spikes put together as dense trains."""
    spikes = [functional.ramp(part, steps).dense() for part in parts]
    return list(torch.autograd.grad(torch.cat(spikes, dim + 1), parts, gradient))


@given(
    st.lists(st.sampled_from([1, 5, 16, 32, 64, 128]), min_size=1, max_size=3),
    st.sampled_from(["flat", "map"]),
    st.sampled_from([0, 1]),
    st.integers(0, 2),
)
def test_bytes_and_gradients(sizes: list[int], kind: str, dim: int, batch: int) -> None:
    shapes = [(batch, n) if dim == 1 else (n % 4, 6) for n in sizes]
    parts = [current(*s, *((3, 2) if kind == "map" else ()), seed=i) for i, s in enumerate(shapes)]
    trains = [functional.ramp(part, 8) for part in parts]
    joined = fs.cat(trains, dim)
    assert torch.equal(joined.times, torch.cat([train.times for train in trains], dim)) and joined.steps == 8
    gradient = torch.randn(joined.dense().shape, generator=generator(9))
    got = torch.autograd.grad(joined.dense(), parts, gradient)
    for one, other in zip(got, dense_gradients(parts, dim, gradient, 8), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("channels", [(64, 17), (5, 64)])
@pytest.mark.parametrize("surrogate", [triangle(), atan()])
def test_a_layer_on_them_is_the_sum_of_two(maps: bool, channels: tuple[int, int], surrogate: object) -> None:
    size = (4, 5) if maps else ()
    parts = [current(3, n, *size, seed=i) for i, n in enumerate(channels)]
    weights = [
        (torch.randn(9, n, *((3, 3) if maps else ()), generator=generator(4 + i)) / 6).requires_grad_()
        for i, n in enumerate(channels)
    ]
    layer, options = (functional.conv2d, {"padding": 1}) if maps else (functional.linear, {})
    trains = [functional.ramp(part, 6, surrogate=surrogate) for part in parts]
    fired = layer(fs.cat(trains), torch.cat(weights, 1), surrogate=surrogate, **options)
    dense = [functional.ramp(part, 6, surrogate=surrogate).dense() for part in parts]
    product = torch.nn.functional.conv2d if maps else torch.nn.functional.linear
    both = sum(product(x.flatten(0, 1), w, None, **options) for x, w in zip(dense, weights, strict=True))
    expected = functional.fire(both.unflatten(0, (6, 3)), surrogate=surrogate)
    assert torch.equal(fired.dense(), expected)
    gradient = torch.randn(expected.shape, generator=generator(7))
    got = torch.autograd.grad(fired.dense(), [*parts, *weights], gradient)
    for one, other in zip(got, torch.autograd.grad(expected, [*parts, *weights], gradient), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_one_side_without_a_gradient() -> None:
    x = current(2, 64)
    still = SpikeTimes(spike_times((2, 10), 8, "mixed", generator(0)), 8)
    for trains, place in (([functional.ramp(x, 8), still], slice(0, 64)), ([still, functional.ramp(x, 8)], slice(10, 74))):
        joined = fs.cat(trains)
        gradient = torch.randn(joined.dense().shape, generator=generator(1))
        (got,) = torch.autograd.grad(joined.dense(), x, gradient)
        (expected,) = torch.autograd.grad(functional.ramp(x, 8).dense(), x, gradient[:, :, place])
        assert torch.equal(got, expected)
    assert not fs.cat([still, still]).requires_grad and fs.cat([still]) == still


@pytest.mark.parametrize("dim", [0, 1])
def test_a_batch_of_any_size_is_traced(dim: int) -> None:
    """No size of the batch is put into the graph."""
    calls = []

    def joined(x: Tensor) -> Tensor:
        calls.append(len(x))  # at each tracing
        one, other = functional.ramp(x, 6), functional.ramp(0.5 * x, 6)
        return fs.cat([one, other], dim).dense()

    compiled = torch.compile(joined, backend="eager", dynamic=True)
    for batch in (3, 4, 5):
        x = current(batch, 64)
        assert torch.equal(compiled(x), joined(x))
    assert len([size for size in calls if not isinstance(size, int)]) <= 1
