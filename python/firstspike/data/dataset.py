"""What `load` returns: the whole data set as two tensors in memory, and its split into train and validation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Dataset:
    """Images and labels of one data set (or one part of it), held in memory.

    Attributes:
        images: uint8 [N, C, H, W], pixel values 0..255.
        labels: int64 [N], values 0..classes-1.
        classes: number of classes.
        name: the data set's name, as `load` knows it.
        source: where the bytes came from, for records and reports.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: int
    name: str
    source: str

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 [N, C, H, W], got {self.images.dtype} {list(self.images.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 [{self.images.shape[0]}], got {self.labels.dtype} {list(self.labels.shape)}"
            )
        if self.classes < 1:
            raise ValueError(f"classes must be at least 1, got {self.classes}")
        if self.labels.numel() and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            raise ValueError(f"labels must be in 0..{self.classes - 1}, got {self.labels.min()}..{self.labels.max()}")

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def subset(self, index: torch.Tensor | slice) -> Dataset:
        """The images and labels at `index`, in its order: a slice (shares memory) or an int64 [M] tensor (copies)."""
        return replace(self, images=self.images[index], labels=self.labels[index])


def split(
    dataset: Dataset, *, validation: float | int, generator: torch.Generator | None = None
) -> tuple[Dataset, Dataset]:
    """Split a training set into train and validation parts; the classes keep their shares in both.

    Args:
        dataset: the set to split.
        validation: a fraction in (0, 1) or a number of images in 1..N-1. It is dealt out to the classes in
            proportion (largest remainders first, then the lower class).
        generator: draws which images go where; None takes a new generator with seed 0, so the split is the same
            in every call.

    Returns:
        (train, validation), both in the order of `dataset`.

    Raises:
        ValueError: if a part would be empty.
    """
    total = len(dataset)
    wanted = round(validation * total) if isinstance(validation, float) else validation
    if not 0 < wanted < total:
        raise ValueError(f"validation must leave images in both parts of {total}, got {validation!r}")
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    order = torch.randperm(total, generator=generator)
    counts = torch.bincount(dataset.labels, minlength=dataset.classes)
    share = counts.double() * (wanted / total)
    quota = share.floor().long()
    missing = wanted - int(quota.sum())
    quota[torch.argsort(quota - share, stable=True)[:missing]] += 1
    held_out = torch.zeros(total, dtype=torch.bool)
    labels = dataset.labels[order]
    for label in range(dataset.classes):
        held_out[order[labels == label][: quota[label]]] = True
    return dataset.subset((~held_out).nonzero()[:, 0]), dataset.subset(held_out.nonzero()[:, 0])
