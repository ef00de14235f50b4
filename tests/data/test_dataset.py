"""The data set type, its split, and the embedded digits."""

import sys

import pytest
import torch

from firstspike import SpikeTimes, data
from firstspike.data import digits


def make(labels, classes=3):
    labels = torch.as_tensor(labels)
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    return data.Dataset(images=images, labels=labels, classes=classes, name="made", source="test")


def test_split_keeps_shares_and_loses_nothing():
    dataset = make([0] * 40 + [1] * 40 + [2] * 20)
    train, held_out = data.split(dataset, validation=0.1)
    assert torch.bincount(held_out.labels).tolist() == [4, 4, 2]
    everything = torch.cat([train.images, held_out.images])[:, 0, 0, 0]
    assert sorted(everything.tolist()) == list(range(100))
    assert torch.equal(held_out.labels, dataset.labels[held_out.images[:, 0, 0, 0].long()])


@pytest.mark.parametrize("validation", [1, 7, 99, 0.333])
def test_split_has_the_size_asked_for(validation):
    dataset = make([i % 3 for i in range(100)])
    wanted = validation if isinstance(validation, int) else round(validation * 100)
    train, held_out = data.split(dataset, validation=validation)
    assert (len(train), len(held_out)) == (100 - wanted, wanted)


def test_split_follows_its_generator():
    dataset = make([0] * 50 + [1] * 50)
    first, again, other = (
        data.split(dataset, validation=20, generator=torch.Generator().manual_seed(seed))[1] for seed in (1, 1, 2)
    )
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("validation", [0, 100, 0.0, 1.0, 0.001, -3])
def test_split_refuses_an_empty_part(validation):
    with pytest.raises(ValueError, match=r"validation must leave images in both parts of 100"):
        data.split(make([0] * 100), validation=validation)


def test_fields_are_checked():
    images = torch.zeros(2, 1, 3, 3, dtype=torch.uint8)
    labels = torch.tensor([0, 1])
    good = {"images": images, "labels": labels, "classes": 2, "name": "made", "source": "test"}
    data.Dataset(**good)
    for change, message in [
        ({"images": images.double()}, "images must be uint8 or float32"),
        ({"images": images.float(), "steps": 4}, "images must be uint8 "),
        ({"images": images[0]}, "images must be uint8"),
        ({"labels": labels.int()}, "labels must be int64"),
        ({"labels": labels[:1]}, "labels must be int64"),
        ({"classes": 1}, "labels must be classes in 0..0"),
        ({"classes": 0}, "classes must be at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            data.Dataset(**{**good, **change})


def test_it_is_a_data_set_of_torch():
    made = data.from_arrays(torch.arange(24.0).view(6, 1, 2, 2), torch.arange(6) % 2)
    batches = list(torch.utils.data.DataLoader(made, batch_size=4))
    assert [len(labels) for _, labels in batches] == [4, 2]
    assert torch.equal(torch.cat([images for images, _ in batches]), made.images)
    assert torch.equal(torch.stack([label for _, label in made]), made.labels)
    first, _ = torch.utils.data.random_split(made, [2, 4])
    assert first[1][0].shape == (1, 2, 2)
    with pytest.raises(TypeError, match=r"index must be an int, got slice.*; subset takes a slice or a tensor"):
        made[1:3]


def test_an_index_is_one_number():
    made = make([0, 1, 2])
    for index in (True, torch.tensor([0, 1]), torch.tensor(True), 1.0, None):
        with pytest.raises(TypeError, match="index must be an int, got"):
            made[index]
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"index must be from -3 to 2, got {index}"):
            made[index]
    assert [int(made[i][1]) for i in (0, -1, torch.tensor(1))] == [0, 2, 1]


def test_data_sets_are_compared_as_objects():
    made, other = make([0, 1]), make([0, 1])
    assert made == made and made != other and len({made, other}) == 2
    assert made.fingerprint() == other.fingerprint()


def test_a_generator_of_another_device_is_refused():
    class Elsewhere(torch.Generator):
        device = torch.device("cuda", 0)

    for call in (lambda g: data.split(make([0, 1]), validation=1, generator=g),
                 lambda g: data.draw(make([0, 1]), 1, generator=g)):  # fmt: skip
        with pytest.raises(ValueError, match="generator must be on the CPU, got one on cuda:0"):
            call(Elsewhere())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_data_set_on_cuda_is_split_as_on_the_cpu():
    made = make([0] * 40 + [1] * 40)
    for mine, there in zip(data.split(made, validation=8), data.split(made.to("cuda"), validation=8), strict=True):
        assert there.labels.is_cuda and torch.equal(mine.images, there.images.cpu())
    assert torch.equal(data.draw(made, 6).images, data.draw(made.to("cuda"), 6).images.cpu())


@pytest.mark.parametrize("shape", [(6, 3), (6, 2, 4, 5)])
def test_spike_times_go_through_torchs_loader(shape):
    spikes = SpikeTimes(torch.randint(0, 4, shape, dtype=torch.uint8), 4)
    made = data.from_arrays(spikes, torch.arange(6) % 2)
    assert made[1][0] == spikes[1:2]
    (one, labels), (other, _) = torch.utils.data.DataLoader(made, batch_size=4)
    assert one == spikes[:4] and other == spikes[4:] and labels.tolist() == [0, 1, 0, 1]


def test_digits():
    train, test = (data.load("digits", train=part) for part in (True, False))
    assert (len(train), len(test), train.input_shape) == (1437, 360, (1, 8, 8))
    assert int(train.images.max()) == 255 and int(train.images.min()) == 0
    assert train.labels[:10].tolist() == list(range(10))
    # the first image's first row is 0 0 5 13 9 1 0 0 of 16
    assert train.images[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    digits._all.cache_clear()
    with pytest.raises(data.NotAvailable, match=r"pip install scikit-learn"):
        data.load("digits", train=True)
