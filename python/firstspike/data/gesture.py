"""DVS Gesture (event camera, 11 gestures), read by tonic (an optional dependency) and summed into frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import library
from .dataset import Dataset
from .errors import NotAvailable
from .progress import say

SLICES = 8
SIDE = 32
RECORDINGS = {"train": 1077, "test": 264}  # of tonic's archives


def load(name: str, *, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of DVS Gesture as frames [N, 2 * SLICES, SIDE, SIDE], one channel per time slice and polarity.

    The frames are those of `frame`, a choice of this package: the paper does not say how it presents the recordings.

    Raises:
        NotAvailable: if tonic is not installed, or the archive is nowhere to be had.
    """
    try:
        from tonic.datasets import DVSGesture
    except ImportError as error:
        raise NotAvailable(
            name, [f"import tonic: {error}"], "Install tonic, which reads it: pip install tonic"
        ) from error
    part = "train" if train else "test"
    filename, md5 = getattr(DVSGesture, f"{part}_filename"), getattr(DVSGesture, f"{part}_md5")

    def read(folder: Path) -> Any:
        if not (folder / "DVSGesture" / filename).is_file():  # else tonic would fetch it, without a time limit
            raise FileNotFoundError(f"no DVSGesture/{filename}")
        return _without_network(DVSGesture, folder / "DVSGesture" / filename, md5)(save_to=str(folder), train=train)

    found, source = library.load(
        name,
        read,
        root=root,
        download=download,
        url=getattr(DVSGesture, f"{part}_url"),
        archive=f"DVSGesture/{filename}",
        md5=md5,
        limit=8_000_000_000,
    )
    places = [str(path) for path in found.data]
    if len(places) != RECORDINGS[part]:
        say(
            f"{source} has {len(places)} recordings of DVS Gesture, {part}, tonic's archive has {RECORDINGS[part]}: was "
            "unpacking interrupted? Without the folder beside the archive, it is unpacked again"
        )
    order = sorted(range(len(places)), key=places.__getitem__)  # not that of the file system
    frames = np.stack([frame(found[i][0], sensor=DVSGesture.sensor_size[0]) for i in order])
    labels = torch.tensor([int(found.targets[i]) for i in order])
    return Dataset(
        images=torch.from_numpy(frames), labels=labels, classes=len(DVSGesture.classes), name=name, source=source
    )


def _without_network(reader: Any, archive: Path, md5: str) -> Any:
    """tonic's class, which downloads where it finds no unpacked recordings: it may only unpack the right archive."""

    def download(self: Any) -> None:
        if not library.has_md5(archive, md5):
            raise FileNotFoundError(f"{archive.name} is damaged: its md5 is not {md5}")
        reader.download(self)

    return type(reader.__name__, (reader,), {"download": download})  # its name is the folder's


def frame(events: NDArray[np.void], *, sensor: int) -> NDArray[np.uint8]:
    """Sum a recording's events into uint8 frames [2 * SLICES, SIDE, SIDE].

    The recording is cut into SLICES parts of equal duration, its pixels into SIDE x SIDE squares. Channel 2 s + p
    counts the events of polarity p in slice s. The 99th percentile of the counts above zero, and what is above it,
    becomes 255; smaller counts are scaled to it and rounded up, so that no event is lost.

    Args:
        events: structured array with fields x, y (pixels, 0..sensor-1), p (polarity, 0 or 1), t (any unit of time).
        sensor: pixels along a side of the sensor, a multiple of SIDE.
    """
    x, y, p, t = (events[field].astype(np.int64) for field in "xypt")
    if not len(t):
        return np.zeros((2 * SLICES, SIDE, SIDE), dtype=np.uint8)
    span = int(t.max() - t.min()) + 1
    part = (t - t.min()) * SLICES // span
    square = sensor // SIDE
    cell = ((2 * part + p) * SIDE + y // square) * SIDE + x // square
    counts = np.bincount(cell, minlength=2 * SLICES * SIDE * SIDE).reshape(2 * SLICES, SIDE, SIDE)
    top = np.percentile(counts[counts > 0], 99)
    frames: NDArray[np.uint8] = np.ceil(np.minimum(counts / top, 1.0) * 255).astype(np.uint8)
    return frames
