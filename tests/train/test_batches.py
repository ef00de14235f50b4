"""Batches: every image once, in the order asked for, as floats in 0..1, shared among processes without rest."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from firstspike import SpikeTimes, encode
from firstspike.data import Dataset, from_arrays
from firstspike.train import Augmentation, Config, augment
from firstspike.train.batches import batches, count, epoch_batches, facts, loader_batches, split
from firstspike.train.distributed import ProcessGroup

from .conftest import make_dataset, run


def test_order_and_scale():
    dataset = make_dataset(10, 0)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    found = list(batches(dataset, 4, order=order))
    assert [len(b.y) for b in found] == [4, 4, 2] and [b.whole for b in found] == [4, 4, 2]
    assert torch.equal(torch.cat([b.x for b in found]), dataset.images[order] / 255)
    assert torch.equal(torch.cat([b.y for b in found]), dataset.labels[order])
    assert found[0].x.dtype == torch.float32 and count(dataset, 4) == 3


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_each_batch_without_rest(world):
    dataset = make_dataset(23, 0)
    draw = torch.Generator().manual_seed(2)
    order = torch.randperm(23, generator=draw)
    draws = augment.draw(Augmentation(shift=1, flip=True), 23, (6, 6), draw)
    whole = list(batches(dataset, 4, order=order, draws=draws))
    shares = [list(batches(dataset, 4, order=order, draws=draws, processes=ProcessGroup(rank, world))) for rank in range(world)]
    for index, batch in enumerate(whole):
        parts = [share[index] for share in shares]
        assert torch.equal(torch.cat([p.x for p in parts]), batch.x)
        assert torch.equal(torch.cat([p.y for p in parts]), batch.y)
        assert {p.whole for p in parts} == {len(batch.y)}


def test_an_epoch_draws_anew_and_the_same_when_it_is_repeated():
    dataset = make_dataset(40, 0)
    config = Config(batch=8, epochs=3, augmentation=Augmentation(shift=1, erase=0.5), unerased_epochs=1)
    first, again, second, last = (
        torch.cat([b.x for b in epoch_batches(dataset, config, epoch, ProcessGroup())]) for epoch in (0, 0, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, second)
    unerased = config.replace(augmentation=Augmentation(shift=1), unerased_epochs=0)
    assert torch.equal(last, torch.cat([b.x for b in epoch_batches(dataset, unerased, 2, ProcessGroup())]))


def test_alternating_flips_mirror_each_image_in_every_second_epoch():
    dataset = from_arrays(torch.rand(8, 1, 1, 3), torch.arange(8))
    config = Config(batch=8, epochs=3, augmentation=Augmentation(flip="alternating"))
    epochs = (next(epoch_batches(dataset, config, epoch, ProcessGroup())) for epoch in range(3))
    first, second, third = (batch.x[batch.y.argsort()] for batch in epochs)
    assert torch.equal(second, first.flip(3)) and torch.equal(third, first)
    assert 0 < (first != dataset.images).any(3).sum() < 8


def test_a_loader_shuffles_by_seed_and_epoch():
    loader = DataLoader(TensorDataset(torch.arange(30.0)[:, None], torch.arange(30) % 4), batch_size=7, shuffle=True)

    def order(seed, epoch, **options):
        return torch.cat([b.x for b in loader_batches(loader, ProcessGroup(), seed=seed, epoch=epoch, **options)])

    assert torch.equal(order(0, 1), order(0, 1))
    assert not torch.equal(order(0, 1), order(0, 2)) and not torch.equal(order(0, 1), order(1, 1))
    parts = [list(loader_batches(loader, ProcessGroup(rank, 2), seed=0, epoch=1)) for rank in range(2)]
    joined = [torch.cat([one.x, other.x]) for one, other in zip(*parts, strict=True)]
    assert torch.equal(torch.cat(joined), order(0, 1))


def test_spikes_and_bytes_of_a_loader():
    times = encode.latency(torch.rand(6, 5), 4)
    (batch,) = loader_batches(DataLoader([0], collate_fn=lambda _: (times, [0] * 6)), ProcessGroup())
    assert isinstance(batch.x, SpikeTimes) and batch.y.dtype == torch.int64
    pixels = torch.full((2, 1, 2, 2), 51, dtype=torch.uint8)
    (batch,) = loader_batches(DataLoader([0], collate_fn=lambda _: (pixels, torch.zeros(2, dtype=torch.int8))), ProcessGroup())
    assert batch.x.unique().tolist() == [torch.tensor(0.2).item()]


def test_validation_and_limit_draw_per_class():
    labels = torch.arange(100) % 4
    whole = from_arrays(torch.rand(100, 5), labels)
    parts = split(Config(validation=0.2, limit=40), (whole, whole), torch.device("cpu"))
    assert parts.train.labels.bincount().tolist() == [8] * 4 and parts.validation.labels.bincount().tolist() == [2] * 4
    again = split(Config(validation=0.2, limit=40, seed=3), (whole, whole), torch.device("cpu"))
    assert torch.equal(again.validation.images, parts.validation.images)


def test_facts_identify_data():
    one, same, other = make_dataset(10, 0), make_dataset(10, 0), make_dataset(10, 1)
    renamed = Dataset(same.images, same.labels, same.classes, "another name", "elsewhere")
    assert facts(one).identity == facts(renamed).identity != facts(other).identity
    loaders = [DataLoader(one, batch_size=size) for size in (5, 5, 2)]
    first, second, third = (facts(loader).identity for loader in loaders)
    assert first == second != third


def test_spike_times_are_trained_on(config, sets):
    pair = [(encode.latency(part.images / 255, steps=4), part.labels) for part in sets]
    result = run(config.replace(encoder="spikes", epochs=10, augmentation=Augmentation(erase=0.1)), pair)
    assert result.test.accuracy > 0.8
