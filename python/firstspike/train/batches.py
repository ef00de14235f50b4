"""Batches out of uint8 images that lie in memory: one gather, one conversion, no worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..data import Dataset
from . import augment
from .distributed import Ranks


@dataclass(frozen=True)
class Pixels:
    """From uint8 pixels to the net's float input: (p / 255 - mean) / deviation, per channel.

    Attributes:
        mean, deviation: one number a channel; None keeps pixels in [0, 1].
    """

    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    @classmethod
    def standard(cls, images: Tensor) -> Pixels:
        """Mean and deviation of images [N, C, H, W], so that each channel has mean 0 and deviation 1."""
        counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.unbind(1)]).double()
        value = torch.arange(256, dtype=torch.float64) / 255
        share = counts / counts.sum(1, keepdim=True)
        mean = (share * value).sum(1)
        deviation = (share * (value - mean[:, None]) ** 2).sum(1).sqrt().clamp(min=1e-6)
        return cls(tuple(mean.tolist()), tuple(deviation.tolist()))

    def __call__(self, images: Tensor) -> Tensor:
        """The float32 input [B, C, H, W] of uint8 images."""
        x = images.to(torch.float32).div_(255)
        if self.mean is None or self.deviation is None:
            return x
        mean, deviation = (torch.tensor(v, device=x.device)[:, None, None] for v in (self.mean, self.deviation))
        return x.sub_(mean).div_(deviation)


class Batch(NamedTuple):
    """This process's share of a batch: input [b, C, H, W], labels [b], and the whole batch's number of images."""

    x: Tensor
    y: Tensor
    whole: int


def count(total: int, batch: int) -> int:
    """The number of batches of `total` images; the last may be smaller."""
    return -(-total // batch)


def batches(
    dataset: Dataset,
    pixels: Pixels,
    batch: int,
    *,
    order: Tensor | None = None,
    draws: augment.Draws | None = None,
    ranks: Ranks | None = None,
) -> Iterator[Batch]:
    """Go once over a data set.

    Args:
        dataset: on the device where the batches shall be.
        pixels: conversion to the net's input.
        batch: images a batch, over all processes.
        order: int64 [N], the order of images; None takes the data set's.
        draws: augmentation of each image in that order; None for none.
        ranks: this process's place among those that share each batch; None for a single one.
    """
    total = len(dataset)
    device = dataset.images.device
    order = None if order is None else order.to(device)
    draws = None if draws is None else draws.to(device)
    for start in range(0, total, batch):
        whole = min(batch, total - start)
        first, last = (0, whole) if ranks is None else ranks.share(whole)
        part = slice(start + first, start + last)
        if order is None:
            images, labels = dataset.images[part], dataset.labels[part]
        else:  # index_select: ten times as fast here as images[order[part]]
            images, labels = (x.index_select(0, order[part]) for x in (dataset.images, dataset.labels))
        if draws is not None:
            images = augment.apply(images, draws[part])
        yield Batch(pixels(images), labels, whole)
