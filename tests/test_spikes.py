"""SpikeTimes: dense <-> times, views, and the gradients that pass through each."""

import copy
import io
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, default_collate

import firstspike as fs
from firstspike import SpikeTimes, functional, reference
from firstspike._base.checks import MAX_STEPS

from .samples import SILENT, generator, grid, spike_times


def sample(shape: tuple[int, ...] = (3, 4), steps: int = 6, seed: int = 0) -> SpikeTimes:
    """Times with silent neurons among them."""
    return SpikeTimes(spike_times(shape, steps, "mixed", generator(seed)), steps)


@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    steps=st.sampled_from([1, 2, 8, 64, 253, MAX_STEPS]),
    pattern=st.sampled_from(["mixed", "silent", "early", "late", "tied", "spread"]),
    seed=st.integers(0, 2**20),
)
def test_dense_and_back(shape: list[int], steps: int, pattern: str, seed: int) -> None:
    times = spike_times(tuple(shape), steps, pattern, generator(seed))
    spikes = SpikeTimes(times, steps)
    dense = spikes.dense()
    assert dense.dtype == torch.float32 and dense.shape == (steps, *shape)
    assert torch.equal(dense, reference.SpikeTrain.from_times(times, steps, torch.float32).dense())
    again = SpikeTimes.from_dense(dense)
    assert again.steps == steps and again.times.dtype == torch.uint8
    assert torch.equal(again.times, times)


def test_by_hand() -> None:
    spikes = SpikeTimes(torch.tensor([[0, 2, SILENT], [1, SILENT, SILENT]], dtype=torch.uint8), 3)
    assert spikes.dense().tolist() == [[[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [1, 0, 0]], [[0, 1, 0], [0, 0, 0]]]
    assert spikes.seconds().tolist() == [[0, 2, math.inf], [1, math.inf, math.inf]]
    assert spikes.seconds(dt=0.5).tolist() == [[0, 1, math.inf], [0.5, math.inf, math.inf]]
    assert spikes.silent.tolist() == [[False, False, True], [False, True, True]]
    assert spikes.count().tolist() == [2, 1]
    assert spikes.shape == (2, 3) and spikes.steps == 3 and len(spikes) == 2
    assert spikes.device == torch.device("cpu")
    assert "3" in repr(spikes)


VIEWS: dict[str, tuple[Callable[[SpikeTimes], SpikeTimes], Callable[[Tensor], Tensor]]] = {
    "flatten": (lambda s: s.flatten(1), lambda x: x.flatten(2)),
    "flatten the map's sides": (lambda s: s.flatten(2), lambda x: x.flatten(3)),
    "reshape": (lambda s: s.reshape(4, 6, 5), lambda x: x.reshape(-1, 4, 6, 5)),
    "reshape with -1": (lambda s: s.reshape(-1, 5, 6, 1), lambda x: x.reshape(-1, 4, 5, 6, 1)),
    "slice": (lambda s: s[1:3], lambda x: x[:, 1:3]),
    "strided slice": (lambda s: s[::2], lambda x: x[:, ::2]),
    "empty slice": (lambda s: s[2:2], lambda x: x[:, 2:2]),
    "mask": (lambda s: s[torch.tensor([True, False, True, True])], lambda x: x[:, torch.tensor([True, False, True, True])]),
    "slices": (lambda s: s[1:, :, ::2, 1::2], lambda x: x[:, 1:, :, ::2, 1::2]),
    "no index": (lambda s: s[torch.empty(0, dtype=torch.int64)], lambda x: x[:, :0]),
    "index from the end": (lambda s: s[torch.tensor([-1, 0])], lambda x: x[:, torch.tensor([-1, 0])]),
    "index": (lambda s: s[torch.tensor([2, 0, 2])], lambda x: x[:, torch.tensor([2, 0, 2])]),
    "device": (lambda s: s.to("cpu"), lambda x: x),
    "slice, then flatten": (lambda s: s[1:].flatten(1), lambda x: x[:, 1:].flatten(2)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    """Each view shows the same neurons as the same view of the dense train, and sends its gradient to the right one."""
    view, counterpart = VIEWS[name]
    x = sample((4, 2, 3, 5)).dense().requires_grad_()
    y = x.detach().double().requires_grad_()
    spikes = view(SpikeTimes.from_dense(x))
    dense = spikes.dense()
    expected = counterpart(y)
    assert spikes.shape == expected.shape[1:] and spikes.steps == 6
    assert torch.equal(dense.double(), expected)
    assert torch.equal(spikes.times, reference.SpikeTrain(expected).times)
    grad = grid(dense.shape, 1.0, generator(1))
    dense.backward(grad)
    expected.backward(grad.double())
    assert torch.equal(x.grad.double(), y.grad)


def test_maps_are_channels_last_whatever_comes_in() -> None:
    times = spike_times((2, 3, 4, 5), 6, "mixed", generator(0))
    for given_times in (times, times.to(memory_format=torch.channels_last), times.transpose(2, 3).contiguous().transpose(2, 3)):
        spikes = SpikeTimes(given_times, 6)
        assert spikes.times.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(spikes.times, times)
    assert SpikeTimes.from_dense(spikes.dense()).times.is_contiguous(memory_format=torch.channels_last)


def test_gradient_reaches_every_step_of_from_dense() -> None:
    """Also the steps without a spike, and twice where the spikes are used twice."""
    x = sample().dense().requires_grad_()
    spikes = SpikeTimes.from_dense(x)
    grad = torch.randn(x.shape, generator=generator(2))
    (spikes.dense() * grad).sum().backward(retain_graph=True)
    assert torch.equal(x.grad, grad)
    (spikes.dense() * grad + spikes.dense() * 2 * grad).sum().backward()
    torch.testing.assert_close(x.grad, 4 * grad)


def test_requires_grad_and_detach() -> None:
    x = sample().dense().requires_grad_()
    spikes = SpikeTimes.from_dense(x)
    assert spikes.requires_grad and spikes.dense().requires_grad
    cut = spikes.detach()
    assert torch.equal(cut.times, spikes.times) and not cut.requires_grad and not cut.dense().requires_grad
    assert not sample().requires_grad and not sample().dense().requires_grad
    assert not SpikeTimes.from_dense(x.detach()).dense().requires_grad
    with torch.no_grad():
        assert not SpikeTimes.from_dense(x).dense().requires_grad


def test_empty_batch() -> None:
    spikes = SpikeTimes(torch.zeros(0, 7, dtype=torch.uint8), 5)
    assert spikes.dense().shape == (5, 0, 7) and spikes.count().shape == (0,) and len(spikes) == 0
    assert SpikeTimes.from_dense(torch.zeros(5, 0, 7)).times.shape == (0, 7)


def test_trains_are_equal_where_shape_steps_and_times_are() -> None:
    a = SpikeTimes(torch.tensor([[0, 3, 255]], dtype=torch.uint8), 4)
    assert a == a.detach() and a == SpikeTimes(a.times.clone(), 4)
    assert a != SpikeTimes(a.times.clone(), 5)  # silence is longer
    assert a != SpikeTimes(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4)
    assert a != a.reshape(1, 3, 1, 1)
    assert a != a.times and a != 0
    assert len({a, a.detach()}) == 2


def fired(*shape: int) -> SpikeTimes:
    """Spikes with a gradient."""
    return functional.ramp(torch.rand(shape, generator=generator(3)).requires_grad_(), 8)


def test_pytree() -> None:
    x = {"a": fired(2, 5), "b": sample((2, 3), 8)}
    leaves, spec = pytree.tree_flatten(x)
    assert len(leaves) == 6 and all(isinstance(leaf, torch.Tensor) for leaf in leaves)
    back = pytree.tree_unflatten(leaves, spec)
    assert back["a"].requires_grad and not back["b"].requires_grad and back["a"].steps == 8
    assert torch.equal(back["a"].dense(), x["a"].dense())
    moved = pytree.tree_map(lambda leaf: leaf.clone(), x["b"])
    assert torch.equal(moved.times, x["b"].times) and moved.steps == 8
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec
    assert [pytree.keystr(key) for key, _ in pytree.tree_flatten_with_path(x["b"])[0]] == [".times"]


def test_default_collate() -> None:
    samples = [(sample((1, 2, 4, 4), seed=i), i) for i in range(5)]
    trains, labels = default_collate(samples)
    assert torch.equal(trains.times, torch.cat([s.times for s, _ in samples])) and labels.tolist() == [0, 1, 2, 3, 4]
    batches = list(DataLoader(samples, batch_size=2, num_workers=0))
    assert [train.shape[0] for train, _ in batches] == [2, 2, 1]


def test_files_and_copies() -> None:
    for x in (sample((3, 2, 4, 5)), fired(3, 7)):
        file = io.BytesIO()
        torch.save({"x": x}, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)["x"]
        for other in (loaded, pickle.loads(pickle.dumps(x)), copy.deepcopy(x.detach()), copy.copy(x)):
            assert torch.equal(other.times, x.times) and other.steps == x.steps
            assert other.times.stride() == x.times.stride()
    assert copy.copy(x).requires_grad and not loaded.requires_grad


def test_rescale() -> None:
    x = SpikeTimes(torch.tensor([[0, 1, 6, 7, SILENT]], dtype=torch.uint8), 8)
    assert x.rescale(4).times.tolist() == [[0, 0, 3, 3, SILENT]] and x.rescale(4).steps == 4
    assert x.rescale(16).times.tolist() == [[0, 2, 12, 14, SILENT]]
    assert torch.equal(x.rescale(16).rescale(8).times, x.times)
    train = x.dense().requires_grad_()
    gradient = torch.randn(3, 1, 5, generator=generator(0))
    (got,) = torch.autograd.grad(SpikeTimes.from_dense(train).rescale(3).dense(), train, gradient)
    assert torch.equal(got, gradient[torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])])


def test_from_dense_keeps_the_first_spike() -> None:
    x = torch.tensor([[0, 1.0, 1], [0, 1, 0], [0, 0, 1]]).view(3, 1, 3).requires_grad_()
    kept = SpikeTimes.from_dense(x, keep="first")
    assert kept.times.tolist() == [[SILENT, 0, 0]]
    (got,) = torch.autograd.grad(kept.dense(), x, torch.ones(3, 1, 3))
    assert got.view(3, 3).T.tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 0]]


def test_lazy_parts() -> None:
    for name in ("data", "emulator", "inspect", "reference", "train"):
        assert getattr(fs, name).__name__ == f"firstspike.{name}" and name in dir(fs)
