"""A data set in memory: samples and labels as two tensors; made from arrays, spike times or recordings of event cameras."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import encode
from .._base import checks
from .._base.checks import SILENT
from ..spikes import SpikeTimes

#: Where an error on targets of another kind leads.
OTHER_TARGETS = "for regression or several labels write the loop, see docs/howto/training-loops.md"


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """Samples and labels of one data set (or one part of it), held in memory.

    Two are equal only if they are the same object; `fingerprint` compares their content.

    Attributes
    ----------
    images : [N, C, H, W], or [N, F] for samples of F features: uint8, pixel values 0..255; or float32; or, with `steps`,
        uint8 spike times, 0..steps-1, and 255 for silent.
    labels : int64 [N], values 0..classes-1.
    classes : number of classes.
    name, source : the data set's name, and where the bytes came from, for records.
    steps : None for images; for spike times, the number of time steps.
    recipe : the arguments that `data.reload` needs to load the set again, as JSON can hold them; None for data made in
        Python.

    Examples
    --------
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
            names = " or ".join(str(dtype)[6:] for dtype in allowed)
            raise ValueError(f"images must be {names} [N, C, H, W] or [N, F], got {checks.shown(self.images)}")
        object.__setattr__(self, "classes", checks.integer("classes", self.classes, 1))
        checks.labels(self.labels, self.images.shape[0], self.classes)
        if self.images.dtype == torch.float32:
            checks.finite("images", self.images)
        if self.steps is not None:
            checks.steps(self.steps)
            wrong = self.images[(self.images >= self.steps) & (self.images != SILENT)]
            if wrong.numel():
                raise ValueError(f"images must be steps 0..{self.steps - 1}, or {SILENT} for silent, got {int(wrong[0])}")

    def __repr__(self) -> str:
        kind = str(self.images.dtype)[6:] if self.steps is None else f"spike times of {self.steps} steps"
        samples = f"{checks.counted(len(self), 'sample')} of {' x '.join(map(str, self.input_shape))}"
        return f"Dataset({self.name}: {samples}, {kind}, {self.classes} classes, from {self.source})"

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, index: int) -> tuple[Tensor | SpikeTimes, Tensor]:
        """Return sample `index`, from -N to N - 1, as the set holds it, and its label, as a torch DataLoader asks for.

        Of spike times the sample is a batch of one, `SpikeTimes` [1, ...], which torch's `default_collate` joins along
        the batch. `subset` takes several.
        """
        number = operator.index(index)
        image, label = self.images[number], self.labels[number]
        return image if self.steps is None else SpikeTimes._trusted(image[None], self.steps), label

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width of one sample, or its number of features alone."""
        return tuple(self.images.shape[1:])

    def subset(self, index: Tensor | slice) -> Dataset:
        """Return the samples at `index`, in its order: a slice (shares memory) or an int64 [M] tensor (copies).

        It has no recipe, which would load the complete set.
        """
        return replace(self, images=self.images[index], labels=self.labels[index], recipe=None)

    def to(self, device: torch.device | str) -> Dataset:
        """Return the same data set on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def fingerprint(self) -> str:
        """Return a sha256 over all samples and labels: equal for equal data, whatever their name and place."""
        kind = [str(self.images.dtype), list(self.images.shape), self.classes, self.steps]
        digest = hashlib.sha256(json.dumps(kind).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.detach().cpu().contiguous().numpy().reshape(-1).view("u1").data)
        return digest.hexdigest()


def split(dataset: Dataset, *, validation: float | int, generator: torch.Generator | None = None) -> tuple[Dataset, Dataset]:
    """Split a training set into train and validation parts; the classes keep their shares in both.

    Parameters
    ----------
    dataset : the set to split.
    validation : a fraction in (0, 1) or a number of images in 1..N-1. The classes get their parts of it in proportion
        (largest remainders first, then the lower class).
    generator : draws the images, on the CPU wherever they are. None takes a new generator with seed 0: every call splits
        alike.

    Returns
    -------
    tuple of Dataset : (train, validation), both in the order of `dataset`.

    Examples
    --------
    >>> rest, held_out = data.split(data.load("digits", train=True), validation=0.1)
    >>> len(rest), len(held_out)
    (1293, 144)
    """
    total = len(dataset)
    if isinstance(validation, float):
        size = round(checks.real("validation", validation, 0.0, 1.0) * total)
    else:
        size = checks.integer("validation", validation, -total)
    if not 0 < size < total:
        raise ValueError(f"validation must leave images in both parts of {total}, got {validation!r}")
    held_out = drawn(dataset, size, generator)
    return dataset.subset((~held_out).nonzero()[:, 0]), dataset.subset(held_out.nonzero()[:, 0])


def draw(dataset: Dataset, count: int, *, generator: torch.Generator | None = None) -> Dataset:
    """Draw `count` samples (1..N) at random, in the order of `dataset`; the classes keep their shares, as in `split`.

    Parameters
    ----------
    dataset : to draw from.
    count : number of samples, 1 to N.
    generator : of the random draws; by default torch's.

    Examples
    --------
    >>> few = data.draw(data.load("digits", train=True), 20)
    >>> few.labels.bincount().tolist()
    [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    """
    count = checks.integer("count", count, 1, len(dataset))
    return dataset.subset(drawn(dataset, count, generator).nonzero()[:, 0])


def drawn(dataset: Dataset, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Return bool [N], on the CPU: True for the samples that `draw` draws, `wanted` of them, each class in proportion."""
    total, labels = len(dataset), dataset.labels.cpu()
    order = torch.randperm(total, generator=generator or torch.Generator().manual_seed(0))
    counts = torch.bincount(labels, minlength=dataset.classes)
    share = counts.double() * (size / total)
    quota = share.floor().long()
    missing = size - int(quota.sum())
    quota[torch.argsort(quota - share, stable=True)[:missing]] += 1
    chosen = torch.zeros(total, dtype=torch.bool)
    labels = labels[order]
    for label in range(dataset.classes):
        chosen[order[labels == label][: quota[label]]] = True
    return chosen


def from_arrays(x: Any, y: Any, *, classes: int | None = None, name: str = "arrays", source: str = "given in Python") -> Dataset:
    """Make a data set from arrays or tensors. It holds copies: later changes in x or y do not reach it.

    Parameters
    ----------
    x : images [N, C, H, W], or [N, H, W] of one channel; or [N, F], samples of F features, which a net gets as [B, F].
        uint8: pixel values 0..255. Any float type: values as they are, converted to float32. Or `SpikeTimes` of N
        samples.
    y : labels [N], of any integer type.
    classes : number of classes; None takes the largest label plus one.
    name, source : for records.

    Examples
    --------
    >>> from_arrays(np.zeros((2, 8, 8), np.uint8), [0, 1]).input_shape
    (1, 8, 8)
    """
    samples, steps = samples_of("x", x)
    labels = _tensor("y", y)
    if labels.dtype.is_floating_point or labels.dtype in (torch.bool, torch.complex64, torch.complex128):
        raise TypeError(f"y must be of an integer type, one class per sample, got {labels.dtype}; {OTHER_TARGETS}")
    if labels.ndim != 1:
        raise ValueError(f"y must be [N], one class per sample, got {list(labels.shape)}; {OTHER_TARGETS}")
    labels = labels.to(torch.int64)
    if classes is None:
        classes = max(int(labels.max()), 0) + 1 if labels.numel() else 1
    return Dataset(samples.contiguous(), labels.contiguous(), classes, name, source, steps)


def samples_of(name: str, x: Any) -> tuple[Tensor, int | None]:
    """Return a copy of the samples that `from_arrays` takes, as `Dataset.images` holds them, and the steps of spike times."""
    steps = None
    if isinstance(x, SpikeTimes):
        x, steps = x.times, x.steps
    samples = _tensor(name, x)
    if steps is None and samples.dtype.is_floating_point:
        samples = samples.to(torch.float32)
    if samples.dtype not in (torch.uint8, torch.float32):
        raise TypeError(f"{name} must be uint8, a float type, or SpikeTimes, got {samples.dtype}")
    if samples.ndim not in (2, 3, 4):
        raise ValueError(f"{name} must be [N, C, H, W], [N, H, W] or [N, F], got shape {list(samples.shape)}")
    return samples[:, None] if samples.ndim == 3 else samples, steps


def _tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        checks.batch(name, value, (Tensor,), "a tensor")
        return value.detach().clone()
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask; filled(0) gives one, with 0 where values are masked")
    try:
        return torch.from_numpy(np.array(value))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array or a tensor of numbers: {error}") from error


def from_events(
    recordings: Sequence[Any],
    y: Any,
    *,
    sensor_size: tuple[int, int, int],
    steps: int,
    window: float | tuple[float, float] | None = None,
    classes: int | None = None,
    name: str = "events",
    source: str = "given in Python",
) -> Dataset:
    """Make a data set from recordings of an event camera: the first event of each pixel and polarity, as a spike time.

    Parameters
    ----------
    recordings : N structured arrays with the fields x, y, t, p, as tonic gives them.
    y : labels [N].
    sensor_size, steps, window : see `encode.first_events`; `window` is in the unit of t.
    classes, name, source : as for `from_arrays`.

    Examples
    --------
    >>> kind = [("x", "i4"), ("y", "i4"), ("t", "i4"), ("p", "i4")]
    >>> recording = np.array([(0, 0, 10, 1), (1, 0, 90, 0), (0, 0, 95, 1)], dtype=kind)  # t in the camera's unit
    >>> events = data.from_events([recording], [0], sensor_size=(2, 1, 2), steps=10, window=(0, 100))
    >>> events.images[0, :, 0].tolist()  # [polarity][x]: the step of the first event, 255 where there is none
    [[255, 9], [1, 255]]
    """
    checks.in_order("recordings", recordings, np.ndarray, "structured arrays of events")
    times = [encode.first_events(each, sensor_size=sensor_size, steps=steps, window=window).times for each in recordings]
    return from_arrays(SpikeTimes(torch.cat(times), steps), y, classes=classes, name=name, source=source)
