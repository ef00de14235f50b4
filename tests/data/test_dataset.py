"""The data set type, its split, the digits, data sets out of arrays, spike times and recordings, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from firstspike import SpikeTimes, data

from ..samples import refusals

EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])


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
    wanted = validation if isinstance(validation, int) else round(validation * 100)
    dataset = make([i % 3 for i in range(100)])
    train, held_out = data.split(dataset, validation=validation, generator=torch.Generator().manual_seed(1))
    again = data.split(dataset, validation=validation, generator=torch.Generator().manual_seed(1))[1]
    assert (len(train), len(held_out)) == (100 - wanted, wanted) and torch.equal(held_out.images, again.images)


def test_draw_keeps_the_shares_of_classes():
    everything = data.from_arrays(np.arange(90, dtype=np.uint8)[:, None], np.arange(90) // 30)
    drawn = data.draw(everything, 31)
    assert sorted(torch.bincount(drawn.labels).tolist()) == [10, 10, 11]
    assert drawn.fingerprint() == data.draw(everything, 31).fingerprint()
    assert drawn.images.flatten().tolist() == sorted(drawn.images.flatten().tolist())


@pytest.mark.parametrize("shape", [(6, 3), (6, 2, 4, 5)])
def test_spike_times_go_through_torchs_loader(shape):
    spikes = SpikeTimes(torch.randint(0, 4, shape, dtype=torch.uint8), 4)
    made = data.from_arrays(spikes, torch.arange(6) % 2)
    assert made[1][0] == spikes[1:2] and made.steps == 4 and "spike times of 4 steps" in repr(made)
    (one, labels), (other, _) = torch.utils.data.DataLoader(made, batch_size=4)
    assert one == spikes[:4] and other == spikes[4:] and labels.tolist() == [0, 1, 0, 1]


def test_fingerprints_tell_data_apart_and_not_names():
    few = np.zeros((2, 3), np.uint8)
    one = data.from_arrays(few, [0, 1])
    assert one.fingerprint() == data.from_arrays(few, [0, 1], name="b").fingerprint()
    others = [(few + 1, [0, 1]), (few, [1, 0]), (few.astype(np.float32), [0, 1]), (few[:, None, :2], [0, 1])]
    made = [one, data.from_arrays(few, [0, 1], classes=3), *(data.from_arrays(*pair) for pair in others)]
    assert len({part.fingerprint() for part in made}) == 6


def test_digits():
    train, test = (data.load("digits", train=part) for part in (True, False))
    assert (len(train), len(test), train.input_shape) == (1437, 360, (1, 8, 8))
    assert int(train.images.max()) == 255 and int(train.images.min()) == 0
    assert train.labels[:10].tolist() == list(range(10))
    # the first image's first row is 0 0 5 13 9 1 0 0 of 16
    assert train.images[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 4, 5), (3, 20)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("labels", [[0, 1, 1], np.array([0, 1, 1], np.int32), torch.tensor([0, 1, 1])])
def test_arrays_of_all_shapes_and_types(shape, kind, labels):
    x = (np.arange(np.prod(shape)) % 7).reshape(shape).astype(kind)
    for value in (x, torch.from_numpy(x)):
        made = data.from_arrays(value, labels)
        assert made.images.dtype == (torch.uint8 if kind is np.uint8 else torch.float32)
        wanted = (3, 1, 4, 5) if len(shape) == 3 else shape
        assert made.images.shape == wanted and made.input_shape == wanted[1:] and made.labels.tolist() == [0, 1, 1]
        assert (made.classes, made.steps, made.recipe) == (2, None, None)
        assert torch.equal(made.images.flatten().double(), torch.from_numpy(x).flatten().double())


@pytest.mark.parametrize("library", [np, torch])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_later_changes_do_not_reach_the_data_set(library, kind):
    x, y = library.zeros((2, 3), dtype=getattr(library, kind)), library.zeros(2, dtype=library.int64)
    times = torch.zeros(2, 3, dtype=torch.uint8)
    made, spikes = data.from_arrays(x, y, classes=2), data.from_arrays(SpikeTimes(times, 4), [0, 1])
    x[:], y[:], times[:] = 1, 1, 200
    assert not made.images.any() and not made.labels.any() and not spikes.images.any()


def test_events_become_the_first_spike_of_each_pixel():
    one = np.array([(0, 0, 5, 1), (0, 0, 0, 1), (2, 1, 9, 0)], EVENT)
    other = np.array([(1, 1, 100, 0)], EVENT)
    made = data.from_events([one, other], [1, 0], sensor_size=(3, 2, 2), steps=10, window=10, name="two")
    assert made.steps == 10 and made.input_shape == (2, 2, 3) and made.name == "two"
    assert made.images[0, 1, 0, 0] == 0 and made.images[0, 0, 1, 2] == 9 and (made.images[0] != 255).sum() == 2
    assert made.images[1, 0, 1, 1] == 0 and (made.images[1] != 255).sum() == 1


FEW = np.zeros((2, 3), np.uint8)
IMAGES, LABELS = torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.tensor([0, 1])


def dataset(**changes):
    return data.Dataset(**{"images": IMAGES, "labels": LABELS, "classes": 2, "name": "a", "source": "b", **changes})


def events(recordings):
    return data.from_events(recordings, [0], sensor_size=(3, 2, 2), steps=10)


test_calls = refusals(
    (lambda: data.load("mnits", train=True), ValueError, "name must be one of digits, mnist"),
    (lambda: data.load("mnist", root="/nowhere", train=True), ValueError, "root"),
    (lambda: data.reload({"kind": "stars"}, train=True), ValueError, "recipe"),
    (lambda: dataset(images=IMAGES.double()), ValueError, "images"),
    (lambda: dataset(images=IMAGES[0]), ValueError, "images"),
    (lambda: dataset(images=FEW), TypeError, "images"),
    (lambda: dataset(images=IMAGES.float() + torch.inf), ValueError, "images"),
    (lambda: dataset(images=IMAGES + 4, steps=4), ValueError, "images"),
    (lambda: dataset(steps=300), ValueError, "steps"),
    (lambda: dataset(labels=LABELS.int()), ValueError, "labels"),
    (lambda: dataset(labels=LABELS[:1]), ValueError, "labels"),
    (lambda: dataset(classes=1), ValueError, "labels"),
    (lambda: dataset()[2], IndexError, "index"),
    (lambda: data.split(dataset(), validation=2), ValueError, "validation"),
    (lambda: data.split(dataset(), validation=1.0), ValueError, "validation"),
    (lambda: data.draw(dataset(), 3), ValueError, "count"),
    (lambda: data.from_arrays(FEW.astype(int), [0, 1]), TypeError, "x must"),
    (lambda: data.from_arrays(np.ma.masked_less(np.zeros((2, 3)), 1), [0, 1]), TypeError, "x must"),
    (lambda: data.from_arrays(FEW, [0.0, 1.0]), TypeError, "y must"),
    (lambda: data.from_arrays(FEW, [0, -1]), ValueError, "labels"),
    (lambda: events(3), TypeError, "recordings"),
    (lambda: data.load_images("/nowhere", train=True), ValueError, "/nowhere/train"),
    (lambda: data.load_images("/nowhere", train=True, size=-1), ValueError, "size"),
)


def test_folders_of_images(tmp_path):
    def refused(text, train=True):
        with pytest.raises(ValueError, match=text):
            data.load_images(tmp_path, train=train)

    refused("train must be a folder")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    refused("cat holds no image")
    Image.new("L", (6, 4)).save(tmp_path / "train" / "cat" / "0.png")
    refused("validation")  # one image makes no two parts
    (tmp_path / "test" / "eel").mkdir(parents=True)
    refused("eel", train=False)
