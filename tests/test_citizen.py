"""`SpikeTimes` as a citizen of torch: pytree, default_collate, files, copies, indices that make no invalid object."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, default_collate

import firstspike as fs
from firstspike import SpikeTimes, functional, nn

from .samples import SILENT, generator, spike_times


def spikes(*shape: int, steps: int = 8, seed: int = 0) -> SpikeTimes:
    """Mixed times without a gradient."""
    return SpikeTimes(spike_times(shape, steps, "mixed", generator(seed)), steps)


def fired(*shape: int) -> SpikeTimes:
    """Spikes with a gradient."""
    return functional.ramp(torch.rand(shape, generator=generator(3)).requires_grad_(), 8)


def test_pytree() -> None:
    x = {"a": fired(2, 5), "b": spikes(2, 3)}
    leaves, spec = pytree.tree_flatten(x)
    assert len(leaves) == 6 and all(isinstance(leaf, torch.Tensor) for leaf in leaves)
    back = pytree.tree_unflatten(leaves, spec)
    assert back["a"].requires_grad and not back["b"].requires_grad and back["a"].steps == 8
    assert torch.equal(back["a"].dense(), x["a"].dense())
    moved = pytree.tree_map(lambda leaf: leaf.clone(), x["b"])
    assert torch.equal(moved.times, x["b"].times) and moved.steps == 8
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec
    keys = [pytree.keystr(key) for key, _ in pytree.tree_flatten_with_path(x["b"])[0]]
    assert keys == [".times"]


def test_default_collate() -> None:
    samples = [(spikes(1, 2, 4, 4, seed=i), i) for i in range(5)]
    trains, labels = default_collate(samples)
    assert torch.equal(trains.times, torch.cat([s.times for s, _ in samples])) and labels.tolist() == [0, 1, 2, 3, 4]
    batches = list(DataLoader(samples, batch_size=2, num_workers=0))
    assert [train.shape[0] for train, _ in batches] == [2, 2, 1]


def test_files_and_copies() -> None:
    for x in (spikes(3, 2, 4, 5), fired(3, 7)):
        file = io.BytesIO()
        torch.save({"x": x}, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)["x"]
        for other in (loaded, pickle.loads(pickle.dumps(x)), copy.deepcopy(x.detach()), copy.copy(x)):
            assert torch.equal(other.times, x.times) and other.steps == x.steps
            assert other.times.stride() == x.times.stride()
    assert copy.copy(x).requires_grad and not loaded.requires_grad
    with pytest.raises(RuntimeError, match="spikes with a gradient cannot be copied deeply"):
        copy.deepcopy(x)


def test_bytes_of_spikes_with_a_gradient_are_refused() -> None:
    x = fired(2, 5)
    with pytest.raises(ValueError, match="times must not be those of spikes with a gradient"):
        SpikeTimes(x.times, 8)
    other = copy.copy(x)  # it holds the same bytes, and goes before x
    del other
    with pytest.raises(ValueError, match="times must not be those of spikes with a gradient"):
        SpikeTimes(x.times, 8)
    assert not SpikeTimes(x.detach().times.clone(), 8).requires_grad
    with torch.no_grad():
        SpikeTimes(x.times, 8)


@pytest.mark.parametrize("make", [spikes, fired])
def test_indices(make: object) -> None:
    x = make(5, 6, 4, 4)  # type: ignore[operator]
    for index in (
        slice(1, 3),
        torch.tensor([4, -1, 0]),
        torch.tensor([True, False, True, False, False]),
        (slice(None), slice(2, 4)),
        (slice(1, None), slice(None), slice(None, None, 2), slice(1, None, 2)),
        torch.empty(0, dtype=torch.int64),
    ):
        got = x[index]
        expected = x.times[index]
        assert torch.equal(got.times, expected) and got.times.dim() == 4 and got.dense().shape == (8, *expected.shape)
        assert got.requires_grad == x.requires_grad


@pytest.mark.parametrize(
    ("index", "error", "text"),
    [
        (torch.tensor(0), TypeError, r"index must be int64 \[samples\] or bool \[batch\], got a tensor of shape \(\)"),
        (torch.zeros(5, 6, dtype=torch.bool), TypeError, r"got a tensor of shape \(5, 6\)"),
        (torch.zeros(2, 2, dtype=torch.int64), TypeError, r"got a tensor of shape \(2, 2\)"),
        (torch.zeros(2), TypeError, "type torch.float32"),
        (torch.zeros(2, dtype=torch.uint8), TypeError, "type torch.uint8"),
        (torch.tensor([5]), IndexError, "index must be from -5 to 4, got 5"),
        (torch.tensor([-6]), IndexError, "index must be from -5 to 4, got -6"),
        (torch.tensor([True]), IndexError, "index must have 5 elements, one per sample, got 1"),
        (2, TypeError, "index must be a slice, a slice per dimension or a tensor of samples, got 2 of type int"),
        ((slice(1), 2), TypeError, "index must be a slice"),
        ((slice(1),) * 3, IndexError, "index must have at most 2 slices, got 3"),
        (None, TypeError, "got None"),
        (..., TypeError, "got Ellipsis"),
    ],
)
def test_indices_that_would_make_no_spikes(index: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        spikes(5, 6)[index]  # type: ignore[index]


def test_rescale() -> None:
    x = SpikeTimes(torch.tensor([[0, 1, 6, 7, SILENT]], dtype=torch.uint8), 8)
    assert x.rescale(4).times.tolist() == [[0, 0, 3, 3, SILENT]] and x.rescale(4).steps == 4
    assert x.rescale(16).times.tolist() == [[0, 2, 12, 14, SILENT]]
    assert torch.equal(x.rescale(16).rescale(8).times, x.times)
    train = x.dense().requires_grad_()
    gradient = torch.randn(3, 1, 5, generator=generator(0))
    (got,) = torch.autograd.grad(SpikeTimes.from_dense(train).rescale(3).dense(), train, gradient)
    assert torch.equal(got, gradient[torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])])
    with pytest.raises(ValueError, match="steps must be from 1 to 254, got 0"):
        x.rescale(0)


def test_from_dense_keeps_the_first_spike() -> None:
    x = torch.tensor([[0, 1.0, 1], [0, 1, 0], [0, 0, 1]]).view(3, 1, 3).requires_grad_()
    with pytest.raises(ValueError, match="fires at steps .*; keep='first' takes the first spike"):
        SpikeTimes.from_dense(x)
    kept = SpikeTimes.from_dense(x, keep="first")
    assert kept.times.tolist() == [[SILENT, 0, 0]]
    (got,) = torch.autograd.grad(kept.dense(), x, torch.ones(3, 1, 3))
    assert got.view(3, 3).T.tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match="keep must be one of None, first, got 'last'"):
        SpikeTimes.from_dense(x, keep="last")


def test_to_refuses_a_dtype() -> None:
    with pytest.raises(TypeError, match="device must be a torch.device, its name or its number, got torch.float32"):
        spikes(2, 3).to(torch.float32)  # type: ignore[arg-type]


def test_repr() -> None:
    x = SpikeTimes(torch.tensor([[0, 1, 6, SILENT]], dtype=torch.uint8), 8)
    assert repr(x) == "SpikeTimes(shape=(1, 4), steps=8, silent=25.0%, requires_grad=False)"
    assert (
        repr(SpikeTimes(torch.zeros(0, 3, dtype=torch.uint8), 4))
        == "SpikeTimes(shape=(0, 3), steps=4, requires_grad=False)"
    )


def test_forward_hooks_see_spikes() -> None:
    layer = nn.TTFSLinear(6, 3, steps=8, generator=generator(0))
    seen: list[SpikeTimes] = []
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = spikes(2, 6)
    out = layer(x)
    assert seen == [x, out]


def test_lazy_parts() -> None:
    for name in ("data", "emulator", "inspect", "reference", "train"):
        assert getattr(fs, name).__name__ == f"firstspike.{name}" and name in dir(fs)
    with pytest.raises(AttributeError, match="module 'firstspike' has no attribute 'tain'"):
        fs.tain  # noqa: B018
