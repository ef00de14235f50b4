"""Batches of spikes that all sides get: as bytes for us, as a dense train for time-stepped libraries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from firstspike import SpikeTimes, data, encode

SOURCES = ("fashion-mnist", "uniform")


@dataclass(frozen=True)
class Batch:
    """spikes: times [B, 1, 28, 28] or [B, 784]. labels: int64 [B]."""

    spikes: SpikeTimes
    labels: Tensor

    @property
    def dense(self) -> Tensor:
        """The same spikes, float32 [T, B, ...]."""
        return self.spikes.dense()


def batch(source: str, size: int, steps: int, *, flat: bool, seed: int = 0) -> Batch:
    """A batch of `size` samples.

    source: "fashion-mnist", the first test images, latency-coded (linear curve: half of the pixels are black and
    silent); "uniform", the worst case, in which every input fires, at a uniformly random time. flat: [B, 784] rather
    than maps. seed: of the random times and their labels.
    """
    if source == "fashion-mnist":
        images, labels = _images()
        images, labels = images[:size], labels[:size]
        x = images.float() / 255
        spikes = encode.latency(x.flatten(1) if flat else x, steps)
    else:
        generator = torch.Generator().manual_seed(seed)
        shape = (size, 784) if flat else (size, 1, 28, 28)
        spikes = SpikeTimes(torch.randint(0, steps, shape, generator=generator).to(torch.uint8), steps)
        labels = torch.randint(0, 10, (size,), generator=generator)
    return Batch(spikes, labels)


@cache
def _images() -> tuple[Tensor, Tensor]:
    dataset = data.load("fashion-mnist", train=False)
    return dataset.images, dataset.labels
