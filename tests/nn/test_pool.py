"""Earliest and max pooling: times and counts by hand, gradients to the winner."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from firstspike import SpikeTimes, nn

from ..samples import generator, spike_times

S = 255


def maps(rows: list[list[int]], steps: int = 4) -> SpikeTimes:
    """One sample, one channel."""
    return SpikeTimes(torch.tensor(rows, dtype=torch.uint8)[None, None], steps)


def test_earliest_by_hand() -> None:
    # left: the earliest is 1; right: silent; the odd last row and column are dropped
    x = maps([[3, 1, S, S, 0], [2, S, S, S, 0], [0, 0, 0, 0, 0]])
    out = nn.EarliestPool2d(2)(x)
    assert out.times.tolist() == [[[[1, S]]]] and out.steps == 4


@given(st.integers(0, 2**31), st.integers(1, 3), st.sampled_from([1, 3, 254]))
def test_earliest_is_the_minimum(seed: int, k: int, steps: int) -> None:
    times = spike_times((2, 3, 6, 7), steps, "mixed", generator(seed))
    expected = -torch.nn.functional.max_pool2d(-times.float(), k)
    dense = SpikeTimes(times, steps).dense().requires_grad_()
    for spikes in (SpikeTimes(times, steps), SpikeTimes.from_dense(dense)):
        assert torch.equal(nn.EarliestPool2d(k)(spikes).times.float(), expected)


def test_earliest_gradient_goes_to_the_winner() -> None:
    # step 1 twice: the upper right one wins; the second window is silent
    x = maps([[3, 1, S, S], [1, S, S, S]]).dense().requires_grad_()
    out = nn.EarliestPool2d(2)(SpikeTimes.from_dense(x)).dense()
    grad = torch.arange(1.0, 9.0).view_as(out)
    out.backward(grad)
    expected = torch.zeros_like(x)
    expected[:, 0, 0, 0, 1] = grad[:, 0, 0, 0, 0]
    expected[:, 0, 0, 0, 2] = grad[:, 0, 0, 0, 1]
    assert torch.equal(x.grad, expected)


def test_max_by_hand() -> None:
    pool = nn.MaxPool2d(2)
    out = pool(maps([[3, 1, 2, 2], [2, S, S, 2]]))  # left fires at 1, 2 and 3; right at 2 only
    assert out[:, 0, 0, 0].tolist() == [[0, 0], [1, 0], [1, 1], [1, 0]]
    assert pool.repeated.item() == 1 and pool.units.item() == 2
    pool(maps([[S, S], [S, S]]))
    assert pool.repeated.item() == 0 and pool.units.item() == 1
    assert not pool.state_dict()


def test_max_agrees_with_torch_and_has_its_gradient() -> None:
    x = SpikeTimes(spike_times((2, 3, 6, 7), 5, "mixed", generator(0)), 5).dense().requires_grad_()
    out = nn.MaxPool2d(3)(SpikeTimes.from_dense(x))
    expected = torch.nn.functional.max_pool2d(x.flatten(0, 1), 3).unflatten(0, (5, 2))
    assert torch.equal(out, expected)
    grad = torch.randn(out.shape, generator=generator(1))
    assert torch.equal(*(torch.autograd.grad(y, x, grad, retain_graph=True)[0] for y in (out, expected)))


def test_the_next_layer_takes_the_repeated_spikes() -> None:
    pool, layer = nn.MaxPool2d(2), nn.TTFSLinear(1, 1, steps=4, affine=None)
    with torch.no_grad():
        layer.weight.fill_(0.4)
    spikes = maps([[0, 1], [2, S]])
    assert layer(pool(spikes)).times.tolist() == [[2]]  # 0.4, 0.8, 1.2
    assert layer(nn.EarliestPool2d(2)(spikes)).times.tolist() == [[S]]


@pytest.mark.parametrize("kind", [nn.MaxPool2d, nn.EarliestPool2d])
def test_bad_input(kind: type) -> None:
    with pytest.raises(ValueError, match="kernel_size must be at least 1, got 0"):
        kind(0)
    with pytest.raises(TypeError, match="spikes must be SpikeTimes, got Tensor"):
        kind(2)(torch.zeros(4, 1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"spikes must be maps .* of at least 2 x 2, got \(1, 1, 1, 4\)"):
        kind(2)(maps([[0, 0, 0, 0]]))
    with pytest.raises(ValueError, match=r"spikes must be maps"):
        kind(2)(SpikeTimes(torch.zeros(2, 4, dtype=torch.uint8), 4))
