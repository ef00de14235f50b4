"""Warnings of data whose values are on another scale than was probably meant."""

from __future__ import annotations

import torch
from torch import Tensor

from .._base.checks import warn
from ..data import Dataset, Normalize

_RATIO = 10  # between the root mean squares of training and test values: 0..1 beside 0..255 has 255
_SAMPLES = 1000  # of each set are looked at


def warn_of_scales(train: Dataset, test: Dataset) -> None:
    """Warn of training images in uint8 that hold 0 and 1 alone, and of a test set on another scale than the training set.

    Spike times have no scale.
    """
    if train.steps is not None:
        return
    if train.images.dtype == torch.uint8 and int(train.images.max()) == 1:
        warn(
            "the training images are uint8 and hold 0 and 1 alone, which a net gets as 0 and 1/255: convert them to a float "
            "type where 1 is meant",
        )
    one, other = (_root_mean_square(part.images) for part in (train, test))
    if min(one, other) > 0 and max(one, other) > _RATIO * min(one, other):
        warn(
            f"train and test are on different scales: their values have root mean squares of {one:.3g} and {other:.3g}; a net "
            "gets floats as they are, and uint8 divided by 255",
        )


def _root_mean_square(images: Tensor) -> float:
    """Of the values that a net gets without normalisation, in up to `_SAMPLES` images from the whole set."""
    some = Normalize()(images[:: max(1, len(images) // _SAMPLES)])
    return float(some.double().square().mean().sqrt())
