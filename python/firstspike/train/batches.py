"""Batches out of uint8 images that lie in memory: one gather, one conversion, no worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from ..data import Dataset, Normalize
from . import augment
from .distributed import ProcessGroup


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
    normalize: Normalize,
    batch: int,
    *,
    order: Tensor | None = None,
    draws: augment.Draws | None = None,
    processes: ProcessGroup | None = None,
) -> Iterator[Batch]:
    """Go once over a data set.

    Args:
        dataset: on the device where the batches shall be.
        normalize: conversion to the net's input.
        batch: images a batch, over all processes.
        order: int64 [N], the order of images; None takes the data set's.
        draws: augmentation of each image in that order; None for none.
        processes: this process's place among those that share each batch; None for a single one.
    """
    total = len(dataset)
    device = dataset.images.device
    order = None if order is None else order.to(device)
    draws = None if draws is None else draws.to(device)
    for start in range(0, total, batch):
        whole = min(batch, total - start)
        first, last = (0, whole) if processes is None else processes.share(whole)
        part = slice(start + first, start + last)
        if order is None:
            images, labels = dataset.images[part], dataset.labels[part]
        else:  # index_select: ten times as fast here as images[order[part]]
            images, labels = (x.index_select(0, order[part]) for x in (dataset.images, dataset.labels))
        if draws is not None:
            images = augment.apply(images, draws[part])
        yield Batch(normalize(images), labels, whole)
