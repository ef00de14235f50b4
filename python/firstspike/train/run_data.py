"""The data of a run: found by name, by folder, or given; described in its records; the same when it resumes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .. import data
from .._base import checks
from .._base.modules import evaluating
from ..data import Dataset, Normalize
from ..data.images import check_classes
from ..data.normalize import warn_of_pixels
from ..spikes import SpikeTimes
from .batches import Data, GivenData, as_data, batches, loader_batches, refuse_shares
from .config import Config
from .data_scale import warn_of_scales
from .distributed import ProcessGroup
from .evaluation import check_scores
from .trained import Trained


@dataclass(frozen=True)
class RunData:
    """Training and test samples, and those held out of training for validation."""

    train: Data
    validation: Dataset | None
    test: Data


def load(
    config: Config,
    processes: ProcessGroup,
    *,
    datasets: tuple[GivenData, GivenData] | None,
    images: str | os.PathLike[str] | None,
    root: str | os.PathLike[str] | None,
    download: bool | None,
) -> tuple[Data, Data]:
    """Training and test data, out of the one place that is named.

    Raises:
        ValueError: if no place is named, or several.
    """
    if datasets is not None:
        if images is not None:
            raise ValueError(f"images={os.fspath(images)!r} and datasets= name two data sets; drop one of them")
        if not isinstance(datasets, (tuple, list)) or len(datasets) != 2:
            raise TypeError("datasets must be a pair (train, test)")
        pair = as_data("the train data", datasets[0]), as_data("the test data", datasets[1])
        for part in pair:
            if isinstance(part, DataLoader):
                refuse_shares(part, processes)
        return pair
    if images is not None and config.data:
        raise ValueError(
            f"data = {config.data!r} and images={os.fspath(images)!r} name two data sets; drop one of them"
        )
    if images is None and config.image_size:
        raise ValueError(f"image_size needs a folder of images (images=), got {config.image_size}")
    if images is None and not config.data:
        raise ValueError("data must be given: the setting data, or a folder of images (images=)")
    if not processes.first:
        processes.wait()  # the first process fetches, the others then find the cache filled
    try:
        if images is not None:
            size = config.image_size
            return data.load_images(images, train=True, size=size), data.load_images(images, train=False, size=size)
        return (
            data.load(config.data, root=root, train=True, download=download),
            data.load(config.data, root=root, train=False, download=download),
        )
    finally:
        if processes.first:
            processes.wait()


def parts(config: Config, pair: tuple[Data, Data], device: torch.device) -> RunData:
    """Training samples, those held out for validation (the same for every seed), test samples, on the device.

    Warns of data whose values are probably on a wrong scale.

    Raises:
        ValueError: for settings that the data cannot serve.
    """
    train, test = pair
    if isinstance(train, Dataset) and isinstance(test, Dataset):
        shapes = [(list(part.input_shape), part.steps) for part in (train, test)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"train and test must have the same shape, and steps, got {shapes[0]} and {shapes[1]}")
    if not isinstance(train, Dataset):
        for name in ("limit", "validation", "standardize"):
            if getattr(config, name):
                raise ValueError(f"{name} needs data in memory, not a DataLoader")
        if config.augmentation.active:
            raise ValueError("augmentation needs data in memory; a DataLoader augments by itself")
        if train.persistent_workers:
            raise ValueError(
                "persistent_workers of the training DataLoader must be False, got True: workers that go on keep the random "
                "numbers of the epoch before, and a run that is resumed would differ"
            )
        return RunData(train, None, _to(test, device))
    if config.augmentation.active and len(train.input_shape) != 3:
        raise ValueError(f"augmentation needs images [N, C, H, W], not samples of {train.input_shape[0]} features")
    steps = train.steps
    if config.spec and (steps is not None) != (config.encoder == "spikes"):
        kind = "spike times" if steps is not None else "images"
        raise ValueError(f"the data are {kind}, which encoder {config.encoder!r} does not take")
    if config.spec and steps is not None and steps != config.steps:
        raise ValueError(f"steps must be the data's {steps}, got {config.steps}")
    if config.standardize and steps is not None:
        raise ValueError("standardize must be False for spike times, got True")
    if not len(train) or not len(test):
        raise ValueError(f"train and test must have at least one sample each, got {len(train)} and {len(test)}")
    if config.limit > len(train):
        raise ValueError(f"limit must be at most the {len(train)} training images, got {config.limit}")
    if isinstance(test, Dataset):
        warn_of_scales(train, test)
    if config.limit:
        train = data.draw(train, config.limit)
    held_out = None
    if config.validation:
        train, held_out = data.split(train, validation=config.validation)
        held_out = held_out.to(device)
    return RunData(train.to(device), held_out, _to(test, device))


def _to(part: Data, device: torch.device) -> Data:
    return part.to(device) if isinstance(part, Dataset) else part


def describe(pair: tuple[Data, Data]) -> dict[str, Any]:
    """What the records say of the data: "train" and "test", as JSON can hold it."""
    return {name: _describe(part) for name, part in zip(("train", "test"), pair, strict=True)}


def _describe(part: Data) -> dict[str, Any]:
    if isinstance(part, Dataset):
        return {
            "name": part.name,
            "source": part.source,
            "samples": len(part),
            "classes": part.classes,
            "fingerprint": part.fingerprint(),
            "recipe": None if part.recipe is None else dict(part.recipe),
        }
    kind = type(part.dataset)
    samples = len(part.dataset) if hasattr(part.dataset, "__len__") else None
    return {
        "name": "DataLoader",
        "source": f"{kind.__module__}.{kind.__qualname__}",
        "samples": samples,
        "batch": part.batch_size,
        "batches": len(part),
        "fingerprint": None,
        "recipe": None,
    }


def differences(mine: dict[str, Any], kept: dict[str, Any]) -> list[str]:
    """In what the data of two records differ, as far as both tell: not their samples where one is a DataLoader, or of 0.1."""
    found = []
    for name in ("train", "test"):
        one, other = mine.get(name, {}), kept.get(name, {})
        hashes = one.get("fingerprint"), other.get("fingerprint")
        if None not in hashes and hashes[0] != hashes[1]:
            found.append(f"{name}: {_told(one)}, not {_told(other)}")
        if one.get("name") == other.get("name") == "DataLoader":
            found += [
                f"{name}: a DataLoader with {key} = {one[key]}, not {other[key]}"
                for key in ("source", "samples", "batch", "batches")
                if None not in (one.get(key), other.get(key)) and one[key] != other[key]
            ]
    return found


def _told(part: dict[str, Any]) -> str:
    return f"{part.get('samples')} samples of {part.get('name')} from {part.get('source')} ({str(part['fingerprint'])[:12]})"


def by_name(kept: dict[str, Any], config: Config) -> bool:
    """Whether a record's data are those that the config names, whose bytes are checked wherever they are loaded."""
    recipes = [kept.get(name, {}).get("recipe") for name in ("train", "test")]
    return bool(config.data) and all(recipe == {"kind": "named", "name": config.data} for recipe in recipes)


def load_own(
    trained: Trained,
    *,
    train: bool,
    images: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool | None = None,
) -> tuple[Dataset, str | None]:
    """The data that a net was trained or tested on, and a warning where they are no longer the same.

    Args:
        trained: the net.
        train: True for the training images, False for the test images.
        images: a folder of images that replaces the recorded one (which may have moved).
        root, download: see `data.load`.

    Raises:
        ValueError: where the data were given in Python, or cannot be used: a folder of images with other classes.
        NotAvailable: as `data.load`.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> result = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), directory=folder, progress=False)
        >>> test, warning = train.load_own(train.load_model(folder), train=False)
        >>> len(test), warning
        (360, None)
    """
    checks.instance("trained", trained, Trained, "a train.Trained")
    checks.boolean("train", train)
    kept = trained.data.get("train" if train else "test", {})
    if images is not None:
        found = data.load_images(images, train=train, size=trained.config.image_size)
        check_classes(found, kept.get("recipe") or {})
    elif not trained.data and trained.config.data:  # a file of version 0.1
        return data.load(trained.config.data, root=root, train=train, download=download), None
    else:
        recipe = kept.get("recipe")
        if recipe is None:
            raise ValueError(
                f"the run's data ({kept.get('name', 'unknown')}) were given in Python; name a folder of images "
                "(images=), or call firstspike.train.evaluate"
            )
        if recipe.get("kind") == "images" and not Path(str(recipe.get("path"))).is_dir():
            raise ValueError(f"the run's images are no longer in {recipe.get('path')}; name their folder (images=)")
        found = data.reload(recipe, train=train, root=root, download=download)
    if kept.get("fingerprint") not in (None, found.fingerprint()):
        return found, f"the {'training' if train else 'test'} data are not those of the run: {found.source} has changed"
    return found, None


def sample(train: Data, normalize: Normalize, device: torch.device) -> tuple[Tensor | SpikeTimes, int | None]:
    """One sample as the net's input, [1, ...], and the number of classes, None where a DataLoader does not tell.

    Warns of images that are probably pixels that were not divided by 255.
    """
    if isinstance(train, Dataset):
        warn_of_pixels(train.images, normalize)
        one = next(batches(train.subset(slice(0, 1)), normalize, 1))
        return one.x, train.classes
    first = next(loader_batches(train, normalize, device), None)
    if first is None or not first.whole:
        raise ValueError("the DataLoader must give at least one batch")
    return first.x[:1], None


def check_test(test: Data, model: nn.Module, normalize: Normalize, device: torch.device, outputs: int) -> None:
    """Raise TypeError or ValueError that names the test data if the net cannot be measured on them.

    Looked at are the first sample, and the labels: all those of a data set, those of a DataLoader's first batch.
    """
    try:
        if isinstance(test, Dataset):
            first = next(batches(test.subset(slice(0, 1)), normalize, 1), None)
        else:
            first = next(loader_batches(test, normalize, device), None)
        if first is None or not first.whole:
            raise ValueError("there must be at least one sample")
        checks.labels_in_range(test.labels if isinstance(test, Dataset) else first.y, outputs)
        check_outputs(model, first.x[:1], None, "")
    except TypeError as error:
        raise TypeError(f"the test data: {error}") from error
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"the test data: {error}") from error


def check_outputs(model: nn.Module, x: Tensor | SpikeTimes, classes: int | None, name: str) -> int:
    """The number of scores that the net gives; TypeError or ValueError unless it gives one per class for one sample x."""
    with evaluating(model), torch.no_grad():
        scores = model(x)
    outputs = check_scores(scores, 1).shape[1]
    if classes is not None and outputs != classes:
        hint = (
            f"; data.from_arrays(x, y, classes={outputs}) tells of classes without a sample"
            if outputs > classes
            else ""
        )
        raise ValueError(f"the net {name!r} has {outputs} outputs, but the data have {classes} classes{hint}")
    return outputs
