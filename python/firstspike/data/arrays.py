"""Data sets out of arrays, tensors, spike times and recordings of event cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .. import encode
from .._base import checks
from .._base.checks import warn
from ..spikes import SpikeTimes
from .dataset import Dataset


def from_arrays(
    x: Any, y: Any, *, classes: int | None = None, name: str = "arrays", source: str = "given in Python"
) -> Dataset:
    """A data set out of arrays or tensors.

    Args:
        x: images [N, C, H, W], or [N, H, W] of one channel; or [N, F], samples of F features, which a net gets as
            [B, F]. uint8: pixel values 0..255. Any float type: values as they are, converted to float32. Or `SpikeTimes`
            of N samples. The data set holds copies: what is changed in x or y later does not reach it.
        y: labels [N], of any integer type.
        classes: number of classes; None takes the largest label plus one.
        name, source: for records.

    Warns of images whose channels are probably last, such as [N, 32, 32, 3].

    Raises:
        TypeError, ValueError: for other types, shapes or values.

    Examples:
        >>> from_arrays(np.zeros((2, 8, 8), np.uint8), [0, 1]).input_shape
        (1, 8, 8)
    """
    samples, steps = samples_of("x", x)
    if samples.ndim == 4 and samples.shape[3] in (1, 3, 4) and min(samples.shape[1:3]) >= 8:
        warn(
            f"x of shape {list(samples.shape)} is read as [N, C, H, W], images of {samples.shape[1]} channels; where the "
            "channels are last, give numpy.moveaxis(x, 3, 1)",
        )
    labels = _tensor("y", y)
    if labels.dtype.is_floating_point or labels.dtype in (torch.bool, torch.complex64, torch.complex128):
        raise TypeError(f"y must be of an integer type, got {labels.dtype}")
    labels = labels.to(torch.int64)
    if classes is None:
        classes = max(int(labels.max()), 0) + 1 if labels.numel() else 1
    return Dataset(samples.contiguous(), labels.contiguous(), classes, name, source, steps)


def samples_of(name: str, x: Any) -> tuple[Tensor, int | None]:
    """A copy of the samples that `from_arrays` takes, [N, C, H, W] or [N, F] as `Dataset.images`, and the steps of spike times.

    name: of the argument, for the errors, TypeError or ValueError.
    """
    if isinstance(x, (Dataset, DataLoader)):
        whole = "its images" if isinstance(x, Dataset) else "one batch of it"
        raise TypeError(f"{name} must be an array or a tensor, got a {type(x).__name__}: pass {whole}")
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
    """A data set out of recordings of an event camera: the first event of each pixel and polarity, as a spike time.

    Args:
        recordings: N structured arrays with the fields x, y, t, p, as tonic gives them.
        y: labels [N].
        sensor_size, steps, window: see `encode.first_events`. A window in which no pixel has its first event after the first
            step is warned of: it is probably in another unit than t.
        classes, name, source: as for `from_arrays`. Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> kind = [("x", "i4"), ("y", "i4"), ("t", "i4"), ("p", "i4")]
        >>> recording = np.array([(0, 0, 10, 1), (1, 0, 90, 0), (0, 0, 95, 1)], dtype=kind)  # t in the camera's unit
        >>> events = data.from_events([recording], [0], sensor_size=(2, 1, 2), steps=10, window=(0, 100))
        >>> events.images[0, :, 0].tolist()  # [polarity][x]: the step of the first event, 255 where there is none
        [[255, 9], [1, 255]]
    """
    recordings = checks.in_order("recordings", recordings, np.ndarray, "structured arrays of events")
    if not recordings:
        raise ValueError("recordings must have at least one recording")
    times = [
        encode.first_events(events, sensor_size=sensor_size, steps=steps, window=window).times for events in recordings
    ]
    made = from_arrays(SpikeTimes(torch.cat(times), steps), y, classes=classes, name=name, source=source)
    if window is not None and steps > 1 and not any(((one > 0) & (one < steps)).any() for one in times):
        lasts = max(
            (float(np.ptp(events["t"].astype(np.float64))) for events in recordings if events.size), default=0.0
        )
        warn(
            f"window must be in the unit of t, got {window}: no pixel of the {len(recordings)} recordings has its first event "
            f"in it after the first of the {steps} steps. The longest recording lasts {lasts:g}"
        )
    return made


def _tensor(name: str, value: Any) -> Tensor:
    """A copy: what the caller changes later does not reach the data set."""
    if isinstance(value, Tensor):
        checks.readable(name, value)
        return value.detach().clone()
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask; filled(0) gives one, with 0 where values are masked")
    try:
        return torch.from_numpy(np.array(value))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array or a tensor of numbers: {error}") from error
