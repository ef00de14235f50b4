"""A data set in memory: samples and labels as two tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .._base import checks
from .._base.checks import SILENT
from ..spikes import SpikeTimes


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """Samples and labels of one data set (or one part of it), held in memory.

    Two are equal only where they are the same object; `fingerprint` compares what they hold.

    Attributes:
        images: [N, C, H, W], or [N, F] for samples of F features: uint8, pixel values 0..255; or float32; or, with
            `steps`, uint8 spike times, 0..steps-1, and 255 for silent.
        labels: int64 [N], values 0..classes-1.
        classes: number of classes.
        name: the data set's name, for records.
        source: where the bytes came from, for records and reports.
        steps: None for images; for spike times, the number of time steps.
        recipe: what `data.reload` needs to load the set again, as JSON can hold it; None for data made in Python.

    Raises:
        TypeError, ValueError: for tensors of other types, shapes or values, NaN and infinity among them.

    Examples:
        >>> digits = data.load("digits", train=False)
        >>> digits
        Dataset(digits: 360 samples of 1 x 8 x 8, uint8, 10 classes, from ...)
        >>> digits.subset(slice(0, 5)).labels.shape
        torch.Size([5])
        >>> image, label = digits[0]
        >>> image.shape, image.dtype
        (torch.Size([1, 8, 8]), torch.uint8)
    """

    images: Tensor
    labels: Tensor
    classes: int
    name: str
    source: str
    steps: int | None = None
    recipe: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        checks.instance("images", self.images, Tensor, "a torch.Tensor")
        allowed = (torch.uint8,) if self.steps is not None else (torch.uint8, torch.float32)
        if self.images.dtype not in allowed or self.images.ndim not in (2, 4):
            names = " or ".join(str(t).removeprefix("torch.") for t in allowed)
            got = f"{self.images.dtype} {list(self.images.shape)}"
            raise ValueError(f"images must be {names} [N, C, H, W] or [N, F], got {got}")
        object.__setattr__(self, "classes", checks.integer("classes", self.classes, 1))
        checks.labels(self.labels, self.images.shape[0], self.classes)
        for name in ("name", "source"):
            checks.instance(name, getattr(self, name), str, "a str")
        checks.optional("recipe", self.recipe, Mapping, "a mapping, for `reload`")
        if self.images.dtype == torch.float32 and not bool(torch.isfinite(self.images).all()):
            bad = int((~torch.isfinite(self.images)).flatten(1).any(1).nonzero()[0, 0])
            raise ValueError(f"images must be finite, but image {bad} holds NaN or infinity")
        if self.steps is not None:
            checks.steps(self.steps)
            wrong = (self.images >= self.steps) & (self.images != SILENT)
            if bool(wrong.any()):
                raise ValueError(
                    f"spike times must be in 0..{self.steps - 1}, or {SILENT} for silent, "
                    f"got {int(self.images[wrong][0])}"
                )

    def __repr__(self) -> str:
        kind = (
            str(self.images.dtype).removeprefix("torch.")
            if self.steps is None
            else f"spike times of {self.steps} steps"
        )
        size = " x ".join(map(str, self.input_shape))
        return (
            f"Dataset({self.name}: {len(self)} samples of {size}, {kind}, {self.classes} classes, from {self.source})"
        )

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, index: int) -> tuple[Tensor | SpikeTimes, Tensor]:
        """Sample `index` as the set holds it, and its label: what a torch DataLoader asks for. `subset` takes several.

        index: -N to N - 1; negative ones count from the end. Of spike times the sample is a batch of one, `SpikeTimes`
        [1, ...], which torch's `default_collate` joins along the batch. Raises TypeError if it is not an int,
        IndexError if it is out of range.
        """
        try:
            number = checks.integer("index", index, -(2**63))
        except TypeError as error:
            raise TypeError(f"{error}; subset takes a slice or a tensor") from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"index must be from {-len(self)} to {len(self) - 1}, got {number}")
        image, label = self.images[number], self.labels[number]
        return image if self.steps is None else SpikeTimes._trusted(image[None], self.steps), label

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width of one sample, or its number of features alone."""
        return tuple(self.images.shape[1:])

    def subset(self, index: Tensor | slice) -> Dataset:
        """The images and labels at `index`, in its order: a slice (shares memory) or an int64 [M] tensor (copies).

        It has no recipe, for loading would bring the whole set.
        """
        if not isinstance(index, slice):
            checks.instance("index", index, Tensor, "a slice or a torch.Tensor, int64 [M]")
            if index.dtype != torch.int64 or index.ndim != 1:
                raise ValueError(f"index must be a slice or int64 [M], got {checks.shown(index)}")
        return replace(self, images=self.images[index], labels=self.labels[index], recipe=None)

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def fingerprint(self) -> str:
        """A sha256 over all samples and labels: equal for equal data, whatever their name and place."""
        missing = [1] * (4 - self.images.ndim)  # version 0.1 held features as [N, 1, 1, F]
        shape = [len(self), *missing, *self.input_shape]
        kind = [str(self.images.dtype), shape, self.classes, self.steps]
        digest = hashlib.sha256(json.dumps(kind).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.detach().cpu().contiguous().numpy().reshape(-1).view("u1").data)
        return digest.hexdigest()


def split(
    dataset: Dataset, *, validation: float | int, generator: torch.Generator | None = None
) -> tuple[Dataset, Dataset]:
    """Split a training set into train and validation parts; the classes keep their shares in both.

    Args:
        dataset: the set to split.
        validation: a fraction in (0, 1) or a number of images in 1..N-1. It is dealt out to the classes in
            proportion (largest remainders first, then the lower class).
        generator: draws which images go where, on the CPU wherever the images are; None takes a new generator with seed 0,
            so the split is the same in every call.

    Returns:
        (train, validation), both in the order of `dataset`.

    Raises:
        ValueError: if a part would be empty, or for a generator of another device.

    Examples:
        >>> rest, held_out = data.split(data.load("digits", train=True), validation=0.1)
        >>> len(rest), len(held_out)
        (1293, 144)
    """
    checks.instance("dataset", dataset, Dataset, "a firstspike.data.Dataset")
    total = len(dataset)
    if isinstance(validation, float):
        wanted = round(checks.real("validation", validation, 0.0, 1.0) * total)
    else:
        wanted = checks.integer("validation", validation, -total)
    if not 0 < wanted < total:
        raise ValueError(f"validation must leave images in both parts of {total}, got {validation!r}")
    held_out = drawn(dataset, wanted, generator)
    return dataset.subset((~held_out).nonzero()[:, 0]), dataset.subset(held_out.nonzero()[:, 0])


def draw(dataset: Dataset, count: int, *, generator: torch.Generator | None = None) -> Dataset:
    """Draw `count` samples at random; the classes keep their shares, as in `split`.

    Args:
        dataset: the set to draw from; its order stays.
        count: 1..N.
        generator: as in `split`.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> few = data.draw(data.load("digits", train=True), 20)
        >>> few.labels.bincount().tolist()
        [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    """
    checks.instance("dataset", dataset, Dataset, "a firstspike.data.Dataset")
    count = checks.integer("count", count, 1, len(dataset))
    return dataset.subset(drawn(dataset, count, generator).nonzero()[:, 0])


def drawn(dataset: Dataset, wanted: int, generator: torch.Generator | None = None) -> Tensor:
    """bool [N], on the CPU: which samples `draw` draws, `wanted` of them, each class in proportion."""
    total, labels = len(dataset), dataset.labels.cpu()
    checks.optional("generator", generator, torch.Generator, "a torch.Generator")
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    if generator.device.type != "cpu":
        raise ValueError(f"generator must be on the CPU, got one on {generator.device}")
    order = torch.randperm(total, generator=generator)
    counts = torch.bincount(labels, minlength=dataset.classes)
    share = counts.double() * (wanted / total)
    quota = share.floor().long()
    missing = wanted - int(quota.sum())
    quota[torch.argsort(quota - share, stable=True)[:missing]] += 1
    chosen = torch.zeros(total, dtype=torch.bool)
    labels = labels[order]
    for label in range(dataset.classes):
        chosen[order[labels == label][: quota[label]]] = True
    return chosen
