"""A small made-up data set that a small net learns in a second, a config for it, and a run on it."""

from __future__ import annotations

import pytest
import torch

from firstspike.data import Dataset
from firstspike.train import Config, Result, fit


def make_dataset(count: int, seed: int, side: int = 6, channels: int = 1, classes: int = 4) -> Dataset:
    """Images of one bright row each; the row tells the class; the rest is dim noise."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    images = torch.randint(0, 90, (count, channels, side, side), generator=draw, dtype=torch.uint8)
    images[torch.arange(count), :, labels] += 150
    return Dataset(images=images, labels=labels, classes=classes, name="digits", source=f"made up, seed {seed}")


def run(config: Config, datasets: object, **options: object) -> Result:
    """`fit` on given data, without a progress bar; what a given net or optimizer decides is left at its default."""
    if options.get("model") is not None:
        config = config.replace(steps=Config().steps)
    if options.get("optimizer") is not None:
        config = config.replace(lr=Config().lr)
    return fit(config, datasets=datasets, progress=False, **options)


@pytest.fixture(scope="session")
def sets() -> tuple[Dataset, Dataset]:
    return make_dataset(150, 1), make_dataset(60, 2)


@pytest.fixture
def config() -> Config:
    return Config(data="digits", spec="36-24-4", steps=4, epochs=3, batch=16, lr=0.01, seed=5, threads=1)
