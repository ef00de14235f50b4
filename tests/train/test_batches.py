"""Batches: every image once, in the order asked for, scaled as documented, shared among processes without rest."""

import pytest
import torch

from firstspike.data import Normalize
from firstspike.train import Augmentation, augment
from firstspike.train.batches import batches, count
from firstspike.train.distributed import ProcessGroup

from .conftest import make_dataset


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
