"""What data sets refuse: the call, the type of the error, and what its message names."""

import numpy as np
import pytest
import torch
from PIL import Image

from firstspike import data

FEW = np.zeros((2, 3), np.uint8)
IMAGES, LABELS = torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.tensor([0, 1])


def dataset(**changes):
    return data.Dataset(**{"images": IMAGES, "labels": LABELS, "classes": 2, "name": "a", "source": "b", **changes})


def events(recordings):
    return data.from_events(recordings, [0], sensor_size=(3, 2, 2), steps=10)


CALLS = [
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
]


@pytest.mark.parametrize(("call", "error", "text"), CALLS, ids=range(len(CALLS)))
def test_calls(call, error, text):
    with pytest.raises(error, match=text):
        call()


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
