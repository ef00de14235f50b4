"""Batches: every image once, in the order asked for, scaled as documented, shared among processes without rest."""

import contextlib
import warnings

import pytest
import torch

from firstspike import train
from firstspike.data import Normalize
from firstspike.train import Augmentation, augment
from firstspike.train.batches import batches, count
from firstspike.train.distributed import ProcessGroup

from .conftest import make_dataset, run


class Stream(torch.utils.data.IterableDataset):
    """20 samples, of which its length says another number."""

    def __init__(self, length):
        self.length = length

    def __iter__(self):
        return iter([(torch.rand(36), index % 4) for index in range(20)])

    def __len__(self):
        return self.length


@pytest.mark.parametrize("length", [12, 20, 40])
def test_a_loader_with_another_length_is_warned_of(length, config, sets):
    loaders = [torch.utils.data.DataLoader(Stream(size), batch_size=4) for size in (length, 20)]
    net = torch.nn.Linear(36, 4)
    context = contextlib.nullcontext()
    if length != 20:
        context = pytest.warns(
            UserWarning, match=f"gave 5 batches, its len is {length // 4}, by which the learning rate"
        )
    with context, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Length of IterableDataset")  # torch's own, where there are more
        run(config.replace(spec="", epochs=1), loaders, model=net)
        assert net(torch.rand(2, 36)).shape == (2, 4)


def test_an_evaluated_loader_with_another_length_is_warned_of():
    with pytest.warns(UserWarning, match="gave 5 batches, its len is 10; where its dataset is iterable"):
        train.evaluate(torch.nn.Linear(36, 4), torch.utils.data.DataLoader(Stream(40), batch_size=4))


def test_a_dataset_of_torch_is_told_to_go_through_a_loader(config):
    pair = [torch.utils.data.TensorDataset(torch.rand(4, 36), torch.zeros(4, dtype=torch.int64))] * 2
    with pytest.raises(TypeError, match=r"got TensorDataset; torch\.utils\.data\.DataLoader\(it, batch_size"):
        run(config, pair)


def test_order_and_scale():
    dataset = make_dataset(10, 0)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    found = list(batches(dataset, Normalize(), 4, order=order))
    assert [len(b.y) for b in found] == [4, 4, 2] and [b.whole for b in found] == [4, 4, 2]
    assert torch.equal(torch.cat([b.x for b in found]), dataset.images[order] / 255)
    assert torch.equal(torch.cat([b.y for b in found]), dataset.labels[order])
    assert found[0].x.dtype == torch.float32 and count(dataset, 4) == 3
    assert Normalize()(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)).flatten().tolist() == [
        0,
        torch.tensor(0.2).item(),
        1,
    ]


def test_normalized_images_have_mean_0_and_deviation_1():
    dataset = make_dataset(200, 0, channels=3)
    normalize = Normalize.of(dataset.images)
    x = normalize(dataset.images).double()
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)


def test_constant_images_do_not_divide_by_zero():
    images = torch.full((3, 1, 2, 2), 7, dtype=torch.uint8)
    assert torch.isfinite(Normalize.of(images)(images)).all()


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_each_batch_without_rest(world):
    dataset = make_dataset(23, 0)
    draw = torch.Generator().manual_seed(2)
    order = torch.randperm(23, generator=draw)
    draws = augment.draw(Augmentation(shift=1, flip=True), 23, (6, 6), draw)
    whole = list(batches(dataset, Normalize(), 4, order=order, draws=draws))
    shares = [
        list(batches(dataset, Normalize(), 4, order=order, draws=draws, processes=ProcessGroup(rank, world)))
        for rank in range(world)
    ]
    for index, batch in enumerate(whole):
        parts = [share[index] for share in shares]
        assert torch.equal(torch.cat([p.x for p in parts]), batch.x)
        assert torch.equal(torch.cat([p.y for p in parts]), batch.y)
        assert {p.whole for p in parts} == {len(batch.y)}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_input_is_float32_whatever_the_default(dtype):
    torch.set_default_dtype(torch.float64)
    try:
        found = Normalize((0.5,), (0.25,))(torch.ones(2, 1, 3, 3, dtype=dtype))
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
