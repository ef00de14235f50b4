"""The data of a run: found, described, split, and given out in batches, from memory or from a DataLoader."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from .. import data
from .._base.checks import SILENT, shown
from ..data import Dataset, from_arrays
from ..data.dataset import OTHER_TARGETS
from ..nn.image_scaling import as_float
from ..spikes import SpikeTimes
from . import augment
from .config import Augmentation, Config
from .distributed import ProcessGroup
from .environment import generator, seeded
from .result import DataFacts

Data = Dataset | DataLoader[Any]
GivenData = Data | tuple[Any, Any]
ALONE = ProcessGroup()


class Batch(NamedTuple):
    """This process's share of a batch: input [b, ...], labels [b], and the whole batch's number of samples."""

    x: Tensor | SpikeTimes
    y: Tensor
    whole: int


class Parts(NamedTuple):
    """Training and test samples, and those held out of training for validation."""

    train: Data
    validation: Dataset | None
    test: Data


def as_data(name: str, given: GivenData) -> Data:
    """`given` as a data set or DataLoader; a pair of arrays or tensors becomes a data set. Errors begin with `name`."""
    if isinstance(given, (Dataset, DataLoader)):
        return given
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TypeError(f"{name} must be a data.Dataset, a pair of arrays, or a DataLoader, got {type(given).__name__}")
    try:
        return from_arrays(*given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def load(
    config: Config, processes: ProcessGroup, datasets: tuple[GivenData, GivenData] | None, images: Any, **options: Any
) -> tuple[Data, Data]:
    """Training and test data from the one place that is named; ValueError if it is none, or several. options: of `data.load`."""
    if datasets is not None:
        if images is not None:
            raise ValueError("images and datasets name two data sets; drop one of them")
        train, test = datasets
        return as_data("the train data", train), as_data("the test data", test)
    if (images is not None) == bool(config.data):
        raise ValueError("data must be given once: the setting data, a folder of images (images=), or datasets=")
    if images is None and config.image_size:
        raise ValueError(f"image_size needs a folder of images (images=), got {config.image_size}")
    if not processes.first:
        processes.wait()  # the first process fetches, the others then find the cache filled
    try:
        if images is not None:
            train, test = (data.load_images(images, train=part, size=config.image_size) for part in (True, False))
        else:
            train, test = (data.load(config.data, train=part, **options) for part in (True, False))
        return train, test
    finally:
        if processes.first:
            processes.wait()


def split(config: Config, pair: tuple[Data, Data], device: torch.device) -> Parts:
    """Training samples, those held out for validation (the same for every seed), and test samples, on the device."""
    train, test = pair
    if not isinstance(train, Dataset):
        for name in ("limit", "validation", "standardize"):
            if getattr(config, name):
                raise ValueError(f"{name} needs data in memory, not a DataLoader")
        if config.augmentation.active:
            raise ValueError("augmentation needs data in memory; a DataLoader augments by itself")
        if train.persistent_workers:
            raise ValueError("persistent_workers must be False for training data, or a resumed run would differ")
        return Parts(train, None, test.to(device) if isinstance(test, Dataset) else test)
    _check_settings(config, train, test)
    if config.limit:
        train = data.draw(train, config.limit)
    held_out = None
    if config.validation:
        train, held_out = data.split(train, validation=config.validation)
        held_out = held_out.to(device)
    return Parts(train.to(device), held_out, test.to(device) if isinstance(test, Dataset) else test)


def _check_settings(config: Config, train: Dataset, test: Data) -> None:
    shapes = [(part.input_shape, part.steps) for part in (train, test) if isinstance(part, Dataset)]
    if len(set(shapes)) > 1:
        raise ValueError(f"train and test must have the same shape, and steps, got {shapes[0]} and {shapes[1]}")
    if config.augmentation.active and len(train.input_shape) != 3:
        raise ValueError(f"augmentation needs images [N, C, H, W], not samples of {train.input_shape[0]} features")
    if config.standardize and train.steps is not None:
        raise ValueError("standardize must be False for spike times, got True")
    if config.limit > len(train):
        raise ValueError(f"limit must be at most the {len(train)} training images, got {config.limit}")


def facts(part: Data) -> DataFacts:
    """What a record says of a part of the data."""
    if isinstance(part, Dataset):
        return DataFacts(
            name=part.name,
            source=part.source,
            samples=len(part),
            classes=part.classes,
            fingerprint=part.fingerprint(),
            recipe=None if part.recipe is None else dict(part.recipe),
        )
    kind, samples = type(part.dataset), len(part.dataset) if hasattr(part.dataset, "__len__") else None
    source = f"{kind.__module__}.{kind.__qualname__}"
    return DataFacts(name="DataLoader", source=source, samples=samples, batch=part.batch_size, batches=len(part))


def count(part: Data, batch: int) -> int:
    """The number of batches; the last may be smaller. A DataLoader makes its own batches."""
    return -(-len(part) // batch) if isinstance(part, Dataset) else len(part)


def once(part: Data, batch: int, processes: ProcessGroup) -> Iterator[Batch]:
    """Go once over a part of the data in its own order."""
    if isinstance(part, Dataset):
        return batches(part, batch, processes=processes)
    return loader_batches(part, processes)


def epoch_batches(part: Data, config: Config, epoch: int, processes: ProcessGroup) -> Iterator[Batch]:
    """The training batches of an epoch 0, 1, ..., which picks order and augmentation."""
    if not isinstance(part, Dataset):
        return loader_batches(part, processes, seed=config.seed, epoch=epoch)
    order = torch.randperm(len(part), generator=generator(config.seed, "order", epoch))
    changes: Augmentation = config.augmentation
    if epoch >= config.epochs - config.unerased_epochs:
        changes = changes.replace(erase=0.0)
    draws = None
    if changes.active:
        _, height, width = part.input_shape
        draws = augment.draw(changes, len(part), (height, width), generator(config.seed, "augmentation", epoch))
        if changes.flip == "alternating":
            first = torch.rand(len(part), generator=generator(config.seed, "flips")) < 0.5  # the same in every epoch
            draws = dataclasses.replace(draws, flip=first[order] ^ (epoch % 2 == 1))
    return batches(part, config.batch, order=order, draws=draws, processes=processes)


def batches(
    dataset: Dataset,
    batch: int,
    *,
    order: Tensor | None = None,
    draws: augment.Draws | None = None,
    processes: ProcessGroup = ALONE,
) -> Iterator[Batch]:
    """Go once over a data set in memory; uint8 images become floats in 0..1. batch: samples over all processes.

    order: int64 [N]; None takes the data set's. draws: augmentation of each image in that order.
    """
    total, device = len(dataset), dataset.images.device
    order = None if order is None else order.to(device)
    draws = None if draws is None else draws.to(device)
    for start in range(0, total, batch):
        whole = min(batch, total - start)
        first, last = processes.share(whole)
        part = slice(start + first, start + last)
        if order is None:  # copies: a net may work in place on its input
            images, labels = dataset.images[part].clone(), dataset.labels[part].clone()
        else:  # index_select: ten times as fast here as images[order[part]]
            images, labels = (x.index_select(0, order[part]) for x in (dataset.images, dataset.labels))
        if draws is not None:
            images = augment.apply(images, draws[part], 0 if dataset.steps is None else SILENT)
        x = as_float("images", images) if dataset.steps is None else SpikeTimes(images, dataset.steps)
        yield Batch(x, labels, whole)


def loader_batches(
    loader: DataLoader[Any], processes: ProcessGroup, *, seed: int | None = None, epoch: int = 0
) -> Iterator[Batch]:
    """Go once over a DataLoader of (input, label); every process must get the same batches, of which it takes its share.

    seed, epoch: of torch's generators, the loader's and its samplers' while it begins; None leaves them alone.
    """
    samplers = [loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
    if processes.world > 1 and any(isinstance(sampler, DistributedSampler) for sampler in samplers):
        raise ValueError("the DataLoader must give every process the same batches; leave its DistributedSampler out")
    with seeded(seed or 0, "order", epoch, processes.device):
        if seed is not None:
            for part in (loader, *samplers):
                if isinstance(source := getattr(part, "generator", None), torch.Generator):
                    source.manual_seed(torch.initial_seed())
        iterator = iter(loader)
        item = next(iterator, None)
    while item is not None:
        x, y = _pair(item)
        whole = len(y)
        first, last = processes.share(whole)
        x = x[first:last].to(processes.device)
        yield Batch(x if isinstance(x, SpikeTimes) else as_float("input", x), y[first:last].to(processes.device), whole)
        item = next(iterator, None)


def _pair(item: Any) -> tuple[Tensor | SpikeTimes, Tensor]:
    if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[0], (Tensor, SpikeTimes)):
        raise TypeError(f"the DataLoader must give pairs (input, label) of tensors or SpikeTimes, got {shown(item)}")
    x, y = item[0], torch.as_tensor(item[1])
    if y.shape != (len(x),) or y.dtype == torch.bool or y.dtype.is_floating_point or y.dtype.is_complex:
        raise ValueError(f"the DataLoader's labels must be integers [{len(x)}], one per input, got {shown(y)}; {OTHER_TARGETS}")
    return x, y.to(torch.int64)


def first_sample(part: Data, device: torch.device) -> Tensor | SpikeTimes:
    """One sample as the net's input, [1, ...]."""
    if isinstance(part, Dataset):
        part = part.subset(slice(0, 1))
    first = next(once(part, 1, ProcessGroup(device=device)), None)
    if first is None or not first.whole:
        raise ValueError("the data must give at least one batch, with at least one sample")
    return first.x[:1]
