"""Batches of a data set in memory (one gather, one conversion, no worker processes) or of a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data.distributed import DistributedSampler

from .._base.checks import SILENT, shown, warn
from ..data import Dataset, Normalize, from_arrays
from ..data.normalize import warn_of_pixels
from ..spikes import SpikeTimes
from . import augment
from .distributed import ProcessGroup
from .seeds import seeded

Data = Dataset | DataLoader[Any]
GivenData = Data | tuple[Any, Any]


class Batch(NamedTuple):
    """This process's share of a batch: input [b, C, H, W], labels [b], and the whole batch's number of samples."""

    x: Tensor | SpikeTimes
    y: Tensor
    whole: int


def as_data(name: str, given: GivenData) -> Data:
    """`given` as a data set or DataLoader; a pair of arrays or tensors becomes a data set. Errors begin with `name`."""
    if isinstance(given, DataLoader):
        try:
            len(given)
        except TypeError:
            raise TypeError(
                f"{name} must know its number of batches (len), got a DataLoader over {type(given.dataset).__name__}"
            ) from None
    if isinstance(given, (Dataset, DataLoader)):
        return given
    if isinstance(given, (tuple, list)) and len(given) == 2:
        try:
            return from_arrays(*given)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    hint = (
        "; torch.utils.data.DataLoader(it, batch_size=...) gives it in batches"
        if isinstance(given, TorchDataset)
        else ""
    )
    raise TypeError(
        f"{name} must be a data.Dataset, a pair of arrays (x, y), or a DataLoader, got {type(given).__name__}{hint}"
    )


def count(data: Data, batch: int) -> int:
    """The number of batches; the last may be smaller. A DataLoader makes its own batches."""
    return -(-len(data) // batch) if isinstance(data, Dataset) else len(data)


def batches(
    dataset: Dataset,
    normalize: Normalize,
    batch: int,
    *,
    order: Tensor | None = None,
    draws: augment.Draws | None = None,
    processes: ProcessGroup | None = None,
) -> Iterator[Batch]:
    """Go once over a data set in memory.

    Args:
        dataset: on the device where the batches shall be.
        normalize: conversion to the net's input.
        batch: samples per batch, over all processes.
        order: int64 [N], the order of samples; None takes the data set's.
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
        if order is None:  # copies: a net may work in place on its input
            images, labels = dataset.images[part].clone(), dataset.labels[part].clone()
        else:  # index_select: ten times as fast here as images[order[part]]
            images, labels = (x.index_select(0, order[part]) for x in (dataset.images, dataset.labels))
        if draws is not None:
            images = augment.apply(images, draws[part], 0 if dataset.steps is None else SILENT)
        x = normalize(images) if dataset.steps is None else SpikeTimes(images, dataset.steps)
        yield Batch(x, labels, whole)


def loader_batches(
    loader: DataLoader[Any],
    normalize: Normalize,
    device: torch.device,
    *,
    seed: int | None = None,
    epoch: int = 0,
    processes: ProcessGroup | None = None,
) -> Iterator[Batch]:
    """Go once over a DataLoader of (input, label); every process must get the same batches, of which it takes its share.

    Args:
        loader: gives pairs of an input (a tensor, uint8 or float, [B, C, H, W] or [B, N], or `SpikeTimes`) and labels.
        normalize: conversion to the net's input.
        device: where the batches shall be.
        seed, epoch: where the loader trains: while it begins, torch's generators are seeded with them, and so are those
            that it or its samplers were made with, so that it shuffles the same way after a resume. None leaves its own alone.
        processes: this process's place.

    Raises:
        TypeError, ValueError: for other pairs, for an input with NaN or infinity, and for a sampler that shares the samples
            among processes.
    """
    refuse_shares(loader, processes)
    with seeded(seed or 0, "order", epoch, device):
        if seed is not None:
            for own in (loader, *_samplers(loader)):
                if isinstance(found := getattr(own, "generator", None), torch.Generator):
                    found.manual_seed(torch.initial_seed())
        iterator = iter(loader)
        item = next(iterator, None)
    looked, given = epoch > 0, 0
    while item is not None:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(f"the DataLoader must give pairs (input, label), got {type(item).__name__}")
        x, y = item
        if not isinstance(x, (Tensor, SpikeTimes)) or not x.shape:
            raise TypeError(f"the DataLoader's inputs must be tensors [B, ...] or SpikeTimes, got {shown(x)}")
        if not looked:
            warn_of_pixels(x, normalize)
            looked = True
        labels = _labels(y, len(x)).to(device=device, dtype=torch.int64)
        whole = len(labels)
        if not whole and seed is not None:
            raise ValueError("the DataLoader must give at least one sample per batch to train on, got none")
        first, last = (0, whole) if processes is None else processes.share(whole)
        yield Batch(_ready(x[first:last], normalize, device), labels[first:last], whole)
        item, given = next(iterator, None), given + 1
    if given and given != len(loader):  # none at all is refused
        schedule = "" if seed is None else ", by which the learning rate's schedule goes"
        warn(
            f"the DataLoader gave {given} batches, its len is {len(loader)}{schedule}; where its dataset is iterable, each "
            "worker must give samples of its own (torch.utils.data.get_worker_info)"
        )


def _samplers(loader: DataLoader[Any]) -> list[Any]:
    return [loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]


def refuse_shares(loader: DataLoader[Any], processes: ProcessGroup | None) -> None:
    """Raise ValueError for a loader that shares its samples among processes, where there are several."""
    if (
        processes is not None
        and processes.world > 1
        and any(isinstance(sampler, DistributedSampler) for sampler in _samplers(loader))
    ):
        raise ValueError(
            "the DataLoader must give every process the same batches, of which each takes its share; "
            "leave its DistributedSampler out"
        )


def _labels(y: Any, samples: int) -> Tensor:
    try:
        labels = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"the DataLoader's labels must be integers, one per input, got {shown(y)} ({error})") from None
    if labels.shape != (samples,):
        raise ValueError(f"the DataLoader's labels must be [{samples}], one per input, got {shown(labels)}")
    if labels.dtype == torch.bool or labels.dtype.is_floating_point or labels.dtype.is_complex:
        raise TypeError(f"the DataLoader's labels must be of an integer type, got {labels.dtype}")
    return labels


def _ready(x: Tensor | SpikeTimes, normalize: Normalize, device: torch.device) -> Tensor | SpikeTimes:
    x = x.to(device)
    if isinstance(x, SpikeTimes):
        return x
    if x.dtype.is_floating_point:
        x = x.to(torch.float32)
        if not bool(torch.isfinite(x).all()):
            raise ValueError("an input of the DataLoader holds NaN or infinity")
    elif x.dtype != torch.uint8:
        raise TypeError(f"the DataLoader's inputs must be uint8 or of a float type, got {x.dtype}")
    return normalize(x)
