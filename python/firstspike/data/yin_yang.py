"""Yin-Yang: points of the plane in three classes, drawn anew at every load by the rule that its authors published."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from .dataset import Dataset

SEED, SIZE = {True: 42, False: 40}, {True: 5000, False: 1000}  # for training (True) and for test, as its authors take them
DOT, LOBE = 0.1, 0.25  # radius of a dot, and of the half circles that divide the disc


def yin_yang(name: str, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Draw one part of Yin-Yang (Kriener, Goeltz and Petrovici 2021, arXiv 2102.08211): features [N, 4], float32.

    The disc around (0.5, 0.5) has radius 0.5. Class 2 is its two dots, classes 0 and 1 are its two halves. A sample is
    (x, y, 1 - x, 1 - y). First its class is drawn, then points until one has this class. The generator is numpy's
    RandomState, whose numbers stay the same in every version: the samples are those that the authors published.
    """
    generator = np.random.RandomState(SEED[train])
    points, labels = [], []
    for _ in range(SIZE[train]):
        label = generator.randint(3)
        x, y = generator.rand(2)
        while _label(x, y) != label:
            x, y = generator.rand(2)
        points.append((x, y, 1 - x, 1 - y))
        labels.append(label)
    return Dataset(torch.tensor(points, dtype=torch.float32), torch.tensor(labels), 3, name, "drawn by its rule")


def _label(x: float, y: float) -> int | None:
    """Return the class of a point, or None outside the disc."""
    if math.hypot(x - 0.5, y - 0.5) > 0.5:
        return None
    left, right = math.hypot(x - 0.25, y - 0.5), math.hypot(x - 0.75, y - 0.5)
    if min(left, right) < DOT:
        return 2
    return int(left <= LOBE or (y > 0.5 and right > LOBE))
