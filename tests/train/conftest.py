"""A small made-up data set that a small net learns in a second, a config for it, and runs on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from firstspike.data import Dataset
from firstspike.train import Config, Epoch, Result, fit


def make_dataset(count: int, seed: int, side: int = 6, channels: int = 1, classes: int = 4) -> Dataset:
    """Images of one bright row each; the row tells the class; the rest is dim noise."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    images = torch.randint(0, 90, (count, channels, side, side), generator=draw, dtype=torch.uint8)
    images[torch.arange(count), :, labels] += 150
    return Dataset(images=images, labels=labels, classes=classes, name="digits", source=f"made up, seed {seed}")


def given(config: Config, **options: Any) -> Config:
    """The config with its defaults in all settings that a given net or optimizer decides."""
    if options.get("model") is not None:
        config = config.replace(spec="", steps=Config().steps)
    return config.replace(lr=Config().lr) if options.get("optimizer") is not None else config


def run(config: Config, datasets: object, **options: Any) -> Result:
    """`fit` on given data, without a progress bar."""
    return fit(given(config, **options), datasets=datasets, progress=False, **options)  # type: ignore[arg-type]


def curves(result: Result) -> list[dict[str, Any]]:
    """The history without times."""
    return [{name: value for name, value in entry.to_dict().items() if "seconds" not in name} for entry in result.history]


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    """True if two nets have the same tensors."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def resumes_with_the_same_bits(start: Callable[..., Result], folder: Path) -> Result:
    """Check that a run that is stopped after its first epoch and in its third ends as one that was not stopped.

    start: begins the run, with new parts, for the options `directory` and `callbacks`.
    """
    whole = start(directory=folder / "whole", callbacks=[])

    def stop_at(number: int) -> Callable[[Epoch, nn.Module], None]:
        def stop(epoch: Epoch, net: nn.Module) -> None:
            if epoch.epoch == number:
                raise KeyboardInterrupt

        return stop

    for number in (2, 3):  # before the checkpoint of the epoch is written
        with pytest.raises(KeyboardInterrupt):
            start(directory=folder / "stopped", callbacks=[stop_at(number)])
    resumed = start(directory=folder / "stopped", callbacks=[])
    assert [session["first_epoch"] for session in resumed.sessions] == [1, 2, 3]
    assert curves(resumed) == curves(whole) and same_bits(resumed.model, whole.model)
    return resumed


@pytest.fixture(scope="session")
def sets() -> tuple[Dataset, Dataset]:
    return make_dataset(150, 1), make_dataset(60, 2)


@pytest.fixture
def config() -> Config:
    return Config(spec="36-24-4", steps=4, epochs=3, batch=16, lr=0.01, seed=5, threads=1)
