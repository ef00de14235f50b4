"""Earliest and max pooling: times and counts by hand, gradients to the winner."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor
from torch.utils import _pytree as pytree

from firstspike import SpikeTimes, functional, nn, surrogate
from firstspike.nn.pool import _earliest_dense

from ..compare import same_on_threads
from ..samples import generator, spike_times

S = 255


def maps(rows: list[list[int]], steps: int = 4) -> SpikeTimes:
    """One sample, one channel."""
    return SpikeTimes(torch.tensor(rows, dtype=torch.uint8)[None, None], steps)


def hidden(shape: tuple[int, ...], steps: int, seed: int) -> tuple[Tensor, SpikeTimes]:
    """Spikes of a layer of neurons, whose anchor is at their support, and the current that they come from."""
    current = torch.randn(shape, generator=generator(seed), dtype=torch.float32).mul(0.6).requires_grad_()
    return current, functional.ramp(current, steps, surrogate=surrogate.triangle(1.5))


WINDOWS = st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(st.integers(0, 2**31), WINDOWS, st.sampled_from([1, 3, 254]))
def test_earliest_is_the_minimum(seed: int, k: int | tuple[int, int], steps: int) -> None:
    times = spike_times((2, 3, 6, 7), steps, "mixed", generator(seed))
    expected = -torch.nn.functional.max_pool2d(-times.float(), k)
    dense = SpikeTimes(times, steps).dense().requires_grad_()
    for spikes in (SpikeTimes(times, steps), SpikeTimes.from_dense(dense)):
        assert torch.equal(nn.EarliestPool2d(k)(spikes).times.float(), expected)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 4), st.sampled_from([1, 3, 254]), st.integers(1, 70))
def test_earliest_keeps_the_entries_of_the_winners(seed: int, k: int, steps: int, channels: int) -> None:
    current, spikes = hidden((2, channels, k + seed % 5, k + seed % 7), steps, seed)
    out, expected = nn.EarliestPool2d(k)(spikes), _earliest_dense(spikes, k)
    assert torch.equal(out.times, expected.times) and out._support is not None
    grad = torch.randn((steps, *out.shape), generator=generator(1))
    assert torch.equal(*(torch.autograd.grad(y.dense(), current, grad, retain_graph=True)[0] for y in (out, expected)))


def test_pools_of_one_direction_and_their_gradients() -> None:
    _, spikes = hidden((2, 3, 4, 6), 8, 0)
    dense, earliest = spikes.dense(), nn.EarliestPool2d((1, 2))(spikes)
    assert torch.equal(earliest.times, _earliest_dense(spikes, (1, 2)).times) and earliest.requires_grad
    pool = nn.MaxPool2d((1, 2))
    train = pool(spikes)
    expected = F.max_pool2d(dense.flatten(0, 1), (1, 2)).unflatten(0, (8, 2))
    assert isinstance(train, Tensor) and torch.equal(train, expected)
    assert int(pool.units) == 2 * 3 * 4 * 3 and int(pool.repeated) == int((expected.sum(0) > 1).sum())
    layer = nn.WindowedConv2d(2, 3, 1, steps=8, generator=generator(0))
    valued = layer(SpikeTimes(spike_times((2, 2, 4, 6), 8, "mixed", generator(1)), 8))
    pooled = [kind((2, 1))(valued) for kind in (nn.EarliestPool2d, nn.WindowedMaxPool2d)]
    assert pooled[0] == pooled[1]
    ours, theirs = (torch.autograd.grad(functional.windowed_values(x).sum(), layer.weight, retain_graph=True)[0] for x in pooled)
    assert torch.equal(ours, theirs) and ours.abs().sum() > 0


@given(seed=st.integers(0, 2**32 - 1), k=st.sampled_from([1, 2, 3, (1, 2), (3, 1)]), steps=st.integers(1, 255))
def test_an_average_of_a_single_spike_is_the_nearest_level(seed: int, k: int | tuple[int, int], steps: int) -> None:
    spikes = SpikeTimes(spike_times((2, 3, 7, 6), 9, "mixed", generator(seed)), 9)
    layer = nn.WindowedAvgPool2d(3, k, steps=steps, clip=0.8)
    mean = F.avg_pool2d(functional.windowed_values(spikes), k)
    pooled = functional.windowed_values(layer(spikes))
    torch.testing.assert_close(pooled, (mean / 0.8).clamp(max=1), rtol=0, atol=0.501 / steps)


def test_a_window_may_be_wider_than_the_kernel_takes() -> None:
    times = spike_times((1, 2, 20, 20), 5, "mixed", generator(0))
    assert torch.equal(nn.EarliestPool2d(17)(SpikeTimes(times, 5)).times, times[:, :, :17, :17].amin((2, 3), keepdim=True))


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
    assert out.dense()[:, 0, 0, 0].tolist() == [[0, 0], [1, 0], [1, 1], [1, 0]]
    assert out.distinct.times.tolist() == [[[[3, 1, 2, S], [2, S, S, S]]]]
    assert pool.repeated.item() == 1 and pool.units.item() == 2
    pool(maps([[S, S], [S, S]]))
    assert pool.repeated.item() == 0 and pool.units.item() == 1
    assert not pool.state_dict()


def dense_max(x: Tensor, k: int) -> Tensor:
    """Torch's own max pooling of a dense train."""
    return F.max_pool2d(x.flatten(0, 1), k).unflatten(0, x.shape[:2])


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 4), st.sampled_from([1, 3, 254]), st.integers(1, 70))
def test_max_agrees_with_torch_and_has_its_gradient(seed: int, k: int, steps: int, channels: int) -> None:
    shape = (2, channels, k + seed % 5, k + seed % 7)
    x = SpikeTimes(spike_times(shape, steps, "mixed", generator(seed)), steps).dense().requires_grad_()
    current, fired = hidden(shape, steps, seed)
    for source, spikes in ((x, SpikeTimes.from_dense(x)), (current, fired)):
        pool = nn.MaxPool2d(k)
        out, expected = pool(spikes).dense(), dense_max(spikes.dense(), k)
        assert torch.equal(out, expected)
        assert pool.repeated.item() == int((expected.sum(0) > 1).sum()) and pool.units.item() == expected[0].numel()
        grad = torch.randn(out.shape, generator=generator(1))
        assert torch.equal(*(torch.autograd.grad(y, source, grad, retain_graph=True)[0] for y in (out, expected)))


@pytest.mark.parametrize("kind", [nn.MaxPool2d, nn.EarliestPool2d])
def test_pools_on_any_number_of_threads(kind: type[nn.MaxPool2d | nn.EarliestPool2d]) -> None:
    def results() -> list[Tensor]:
        current, spikes = hidden((3, 20, 9, 8), 8, 0)
        dense = kind(2)(spikes).dense()
        factor = torch.randn(dense.shape, generator=generator(1))
        return [dense, *torch.autograd.grad((dense * factor).sum(), current)]

    same_on_threads(results)


LAYERS: dict[str, Callable[..., nn.Synapses]] = {
    "linear": lambda **o: nn.TTFSLinear(5 * 3 * 3, 6, **o),
    "convolution": lambda **o: nn.TTFSConv2d(5, 6, 3, padding=1, **o),
    "convolution with a pool of its own": lambda **o: nn.TTFSConv2d(5, 6, 3, padding=1, avg_pool=2, **o),
    "dense surrogate": lambda **o: nn.TTFSConv2d(5, 6, 3, surrogate=surrogate.atan(), **o),
    "thresholds": lambda **o: nn.TTFSLinear(5 * 3 * 3, 6, threshold=torch.linspace(0.5, 1.5, 6), **o),
    "readout": lambda **o: nn.Integrate(5 * 3 * 3, 6, **o),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_pooled_spikes_as_it_takes_the_dense_train(name: str) -> None:
    layer = LAYERS[name](steps=8, normalization=True, generator=generator(2))
    found = []
    for pooled in (lambda spikes: nn.MaxPool2d(2)(spikes), lambda spikes: dense_max(spikes.dense(), 2)):
        current, spikes = hidden((4, 5, 7, 6), 8, 3)
        out = layer(pooled(spikes))
        dense = out.dense() if isinstance(out, SpikeTimes) else out
        weights = torch.randn(dense.shape, generator=generator(4))
        gradients = torch.autograd.grad((dense * weights).sum(), [current, *layer.parameters()])
        found.append((dense, *gradients))
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert all(float(gradient.abs().max()) > 0 for gradient in found[0][1:])


@pytest.mark.parametrize("name", ["linear", "convolution", "dense surrogate"])
def test_the_membrane_behind_a_max_pool(name: str) -> None:
    layer = LAYERS[name](steps=8, generator=generator(2))
    _, spikes = hidden((4, 5, 7, 6), 8, 3)
    pooled = nn.MaxPool2d(2)(spikes)
    fired, membrane = layer(pooled, membrane=True)
    assert torch.equal(fired.times, layer(pooled).times)
    for got in (membrane, layer.membrane(pooled)):
        torch.testing.assert_close(got, layer.membrane(pooled.dense()), rtol=1e-5, atol=1e-5)


def test_dropout_behind_a_max_pool_drops_spikes() -> None:
    layer = nn.TTFSLinear(5 * 8 * 8, 6, steps=8, dropout=0.5)
    pooled = nn.MaxPool2d(2)(hidden((4, 5, 16, 16), 8, 3)[1])
    left, weight = layer.drop(pooled, layer.weight)
    assert isinstance(left, nn.PooledSpikes) and torch.equal(weight, layer.weight * 2)
    kept, all_spikes = int(left.distinct.count().sum()), int(pooled.distinct.count().sum())
    assert 0.4 < kept / all_spikes < 0.6
    assert bool((left.dense() <= pooled.dense()).all())
    layer.eval()
    assert layer.drop(pooled, layer.weight)[0] is pooled


def test_the_next_layer_takes_the_repeated_spikes() -> None:
    pool, layer = nn.MaxPool2d(2), nn.TTFSLinear(1, 1, steps=4, affine=None)
    with torch.no_grad():
        layer.weight.fill_(0.4)
    spikes = maps([[0, 1], [2, S]])
    assert layer(pool(spikes)).times.tolist() == [[2]]  # 0.4, 0.8, 1.2
    assert layer(nn.EarliestPool2d(2)(spikes)).times.tolist() == [[S]]


def test_pooled_spikes_are_carried_by_pytrees() -> None:
    pool, spikes = nn.MaxPool2d(2), hidden((4, 5, 7, 6), 8, 3)[1]
    pooled = pool(spikes)
    leaves, structure = pytree.tree_flatten(pooled)
    again = pytree.tree_unflatten(leaves, structure)
    assert torch.equal(again.dense(), pooled.dense()) and again.requires_grad
    for copied in (copy.deepcopy(pooled.detach()), pickle.loads(pickle.dumps(pooled))):
        assert torch.equal(copied.dense(), pooled.dense()) and copied.kernel_size == 2


def test_flatten_of_torch_behind_a_max_pool() -> None:
    spikes = SpikeTimes(spike_times((2, 3, 6, 6), 5, "mixed", generator(0)), 5)
    layer = nn.Integrate(3 * 9, 4, steps=5)
    chain = torch.nn.Sequential(nn.MaxPool2d(2), torch.nn.Flatten(), layer)
    assert torch.allclose(chain(spikes), layer(nn.MaxPool2d(2)(spikes)), atol=1e-5)
