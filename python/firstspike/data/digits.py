"""The 1,797 handwritten 8x8 digits that scikit-learn contains: no download is needed."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from .dataset import Dataset
from .errors import NotAvailable

TEST_FROM = 1437  # the first 80 % are for training


def load(*, train: bool) -> Dataset:
    """Load one part of the digits: images [N, 1, 8, 8].

    scikit-learn has one list without a split; here images 0..1436 in its order are for training and 1437..1796 for
    test. Pixels, 0..16 there, are scaled to 0..255: round(255 / 16 * p), half to even.

    Raises:
        NotAvailable: if scikit-learn is not installed.
    """
    part = slice(None, TEST_FROM) if train else slice(TEST_FROM, None)
    images, labels = (values[part].clone() for values in _all())
    return Dataset(images=images, labels=labels, classes=10, name="digits", source="scikit-learn")


@cache
def _all() -> tuple[Tensor, Tensor]:
    """All images and labels; read once per process, because scikit-learn parses text."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise NotAvailable(
            "digits", [f"import sklearn: {error}"], "Install scikit-learn, which contains it: pip install scikit-learn"
        ) from error
    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return torch.from_numpy(pixels)[:, None], torch.from_numpy(bunch.target.astype(np.int64))
