"""CIFAR-10 and CIFAR-100, read by torchvision (an optional dependency)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from . import library
from .dataset import Dataset
from .errors import NotAvailable

_CLASSES = {"cifar10": ("CIFAR10", 10), "cifar100": ("CIFAR100", 100)}


def load(name: str, *, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of CIFAR-10 or CIFAR-100: images [N, 3, 32, 32], RGB.

    Raises:
        NotAvailable: if torchvision is not installed, or the archive is nowhere to be had.
    """
    try:
        from torchvision import datasets
    except ImportError as error:
        raise NotAvailable(
            name, [f"import torchvision: {error}"], "Install torchvision, which reads it: pip install torchvision"
        ) from error
    attribute, classes = _CLASSES[name]
    reader = getattr(datasets, attribute)

    def read(folder: Path) -> Any:
        archive = folder / reader.filename
        # torchvision unpacks where it may download; with the right archive in place it then downloads nothing.
        unpack = library.has_md5(archive, reader.tgz_md5)
        if archive.is_file() and not unpack:
            raise FileNotFoundError(f"{archive.name} is damaged: its md5 is not {reader.tgz_md5}")
        return reader(root=str(folder), train=train, download=unpack)  # torchvision checks the md5 of every file

    found, source = library.load(
        name,
        read,
        root=root,
        download=download,
        url=reader.url,
        archive=reader.filename,
        md5=reader.tgz_md5,
        limit=400_000_000,
    )
    images = torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous()
    return Dataset(images=images, labels=torch.tensor(found.targets), classes=classes, name=name, source=source)
