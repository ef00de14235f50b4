"""SpikeTimes: dense <-> times, views, and the gradients that pass through each."""

import copy
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from firstspike import SpikeTimes, cat, functional, reference
from firstspike._base.checks import MAX_STEPS
from firstspike._base.geometry import anchor_to_sites

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


def test_last_step_is_not_silent() -> None:
    """T = 254 uses every byte but 254 and 255."""
    spikes = SpikeTimes(torch.tensor([[253, SILENT]], dtype=torch.uint8), 254)
    assert spikes.dense().sum(0).tolist() == [[1, 0]]
    assert spikes.dense()[253].tolist() == [[1, 0]]


VIEWS: dict[str, tuple[Callable[[SpikeTimes], SpikeTimes], Callable[[Tensor], Tensor]]] = {
    "flatten": (lambda s: s.flatten(1), lambda x: x.flatten(2)),
    "flatten the map's sides": (lambda s: s.flatten(2), lambda x: x.flatten(3)),
    "reshape": (lambda s: s.reshape(4, 6, 5), lambda x: x.reshape(-1, 4, 6, 5)),
    "reshape with -1": (lambda s: s.reshape(-1, 5, 6, 1), lambda x: x.reshape(-1, 4, 5, 6, 1)),
    "slice": (lambda s: s[1:3], lambda x: x[:, 1:3]),
    "strided slice": (lambda s: s[::2], lambda x: x[:, ::2]),
    "empty slice": (lambda s: s[2:2], lambda x: x[:, 2:2]),
    "mask": (
        lambda s: s[torch.tensor([True, False, True, True])],
        lambda x: x[:, torch.tensor([True, False, True, True])],
    ),
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


@pytest.mark.parametrize("name", VIEWS)
def test_anchors_of_dense_trains_take_no_memory(name: str) -> None:
    """Neither in a view, nor as the operators get them: a zero expanded to [T, B, ...]."""
    spikes = VIEWS[name][0](SpikeTimes.from_dense(sample((4, 2, 3, 5)).dense().requires_grad_()))
    assert spikes._anchor is not None and spikes._anchor.shape == spikes.dense().shape and spikes._anchor.requires_grad
    assert spikes._anchor.untyped_storage().nbytes() == anchor_to_sites(spikes._anchor).untyped_storage().nbytes() == 4


def test_maps_are_channels_last_whatever_comes_in() -> None:
    times = spike_times((2, 3, 4, 5), 6, "mixed", generator(0))
    for given_times in (
        times,
        times.to(memory_format=torch.channels_last),
        times.transpose(2, 3).contiguous().transpose(2, 3),
    ):
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


def test_seconds_carries_no_gradient_and_times_are_bytes() -> None:
    spikes = SpikeTimes.from_dense(sample().dense().requires_grad_())
    assert not spikes.seconds().requires_grad and spikes.seconds().dtype == torch.float32
    assert spikes.times.dtype == torch.uint8


def test_what_torch_asks_of_a_tensor_is_answered_with_what_to_do() -> None:
    spikes = SpikeTimes(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), 4)
    with pytest.raises(AttributeError, match=r"no attribute 'dim'; SpikeTimes are no tensor: .*dense\(\)"):
        torch.nn.BatchNorm2d(3)(spikes)
    with pytest.raises(TypeError, match=r"cannot be added.*nn\.Residual.*firstspike\.earliest"):
        spikes + spikes
    with pytest.raises(TypeError, match="spikes are no array; SpikeTimes are no tensor"):
        np.asarray(spikes)
    assert not hasattr(spikes, "numpy") and pickle.loads(pickle.dumps(spikes)) == copy.deepcopy(spikes) == spikes


def test_empty_batch() -> None:
    spikes = SpikeTimes(torch.zeros(0, 7, dtype=torch.uint8), 5)
    assert spikes.dense().shape == (5, 0, 7) and spikes.count().shape == (0,) and len(spikes) == 0
    assert SpikeTimes.from_dense(torch.zeros(5, 0, 7)).times.shape == (0, 7)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([[[1.0, 0.0]], [[1.0, 0.0]]], r"\(0, 0\).*steps \[0, 1\]"),
        ([[[0.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]], r"\(0, 1\).*steps \[0, 2\]"),
        ([[[0.5, 0.0]]], r"0\.5 at .*\(0, 0, 0\)"),
        ([[[0.0, -1.0]]], r"-1\.0 at .*\(0, 0, 1\)"),
        ([[[0.0, math.nan]]], r"nan at .*\(0, 0, 1\)"),
    ],
)
def test_what_is_no_spike_train_is_refused(train: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpikeTimes.from_dense(torch.tensor(train))


def test_bytes_of_spikes_with_a_gradient_are_refused() -> None:
    """Themselves and views of them; what torch copies of them cannot be told from other bytes, as the docstring says."""
    spikes = SpikeTimes.from_dense(sample((4, 2, 3, 5)).dense().requires_grad_())
    for times in (spikes.times, spikes.times[:2], spikes.times.permute(0, 2, 3, 1)):
        with pytest.raises(ValueError, match="gradient, which would be lost"):
            SpikeTimes(times, spikes.steps)
        with torch.no_grad():
            SpikeTimes(times, spikes.steps)
    copied = SpikeTimes(torch.cat([spikes.times, spikes.times], 1), spikes.steps)
    assert not copied.requires_grad and cat([spikes, spikes]).requires_grad
    plain = spikes.detach()
    assert plain[:1] == SpikeTimes(plain.times[:1].clone(), plain.steps)


@pytest.mark.parametrize("view", [lambda times: times, lambda times: times[:1], lambda times: times.reshape(2, 3)])
def test_bytes_are_refused_when_the_spikes_are_gone_as_well(view: Callable[[Tensor], Tensor]) -> None:
    times = view(functional.ramp(torch.rand(3, 2, requires_grad=True), 4).times)
    with pytest.raises(ValueError, match="gradient, which would be lost"):
        SpikeTimes(times, 4)


def test_trains_are_equal_where_shape_steps_and_times_are() -> None:
    a = SpikeTimes(torch.tensor([[0, 3, 255]], dtype=torch.uint8), 4)
    assert a == a.detach() and a == SpikeTimes(a.times.clone(), 4)
    assert a != SpikeTimes(a.times.clone(), 5)  # silence is longer
    assert a != SpikeTimes(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4)
    assert a != a.reshape(1, 3, 1, 1)
    assert a != a.times and a != 0
    assert len({a, a.detach()}) == 2


def test_a_part_made_without_gradients_can_be_detached() -> None:
    made = functional.ramp(torch.rand(2, 6).requires_grad_(), 5)
    with torch.no_grad():
        part = made[0:1]
    assert not part.requires_grad
    assert torch.equal(SpikeTimes(part.detach().times, 5).times, made.times[0:1])


def test_spikes_on_meta_are_not_compared() -> None:
    spikes = sample()
    there = SpikeTimes(spikes.times.to("meta"), spikes.steps)
    assert there == there
    for pair in ((there, spikes), (spikes, there)):
        with pytest.raises(TypeError, match="spikes on the meta device have no times to compare"):
            assert pair[0] == pair[1]
