"""Encoders: intensities to spike times, the brightest first; events of a camera to each pixel's first one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import ops
from ._base import checks
from .ops.latency import CURVES
from .spikes import SpikeTimes


def latency(x: Tensor, steps: int, curve: str = "linear") -> SpikeTimes:
    """Latency code: one spike per intensity, the brighter the earlier; zero stays silent.

    - "linear": time = round((1 - x) (T - 1)); x = 1 fires in step 0.
    - "log": time = round((T - 1) min(1, ln x / ln(1/255))): equal ratios of intensity are equal delays. x = 1 fires in step 0;
      1/255, the darkest grey of an 8-bit image, and whatever is darker fire in step T - 1.

    Not differentiable.

    Parameters
    ----------
    x : float32 [B, ...], values in [0, 1] (float16 and bfloat16 under autocast).
    steps : T, 1 to 254.
    curve : "linear" or "log", for x > 0; both round half to even.

    Examples
    --------
    >>> latency(torch.tensor([[1.0, 0.5, 0.1, 0.0]]), steps=8).times
    tensor([[  0,   4,   6, 255]], dtype=torch.uint8)
    """
    x = checks.float32("x", x).detach()
    steps = checks.steps(steps)
    checks.one_of("curve", curve, CURVES)
    if x.dim() < 2:
        raise ValueError(f"x must have shape [batch, ...] with at least 2 dimensions, got {tuple(x.shape)}")
    checks.unit_range("x", x)
    return SpikeTimes._trusted(ops.latency.latency(x.contiguous(), steps, CURVES.index(curve)), steps)


def seconds(t: Tensor, dt: float, steps: int) -> SpikeTimes:
    """Spike times in seconds, or in another unit, as times in steps: round(t / dt), half to even.

    The inverse of `SpikeTimes.seconds`. Not differentiable.

    Parameters
    ----------
    t : float32 [B, ...], at least 0; inf is silent, and so is what falls after the last step.
    dt : a step in the unit of t, > 0.
    steps : T, 1 to 254.

    Examples
    --------
    >>> seconds(torch.tensor([[0.0, 1.4, 9.0, torch.inf]]), dt=0.5, steps=8).times
    tensor([[  0,   3, 255, 255]], dtype=torch.uint8)
    """
    t = checks.float32("t", t).detach()
    dt, steps = checks.positive("dt", dt), checks.steps(steps)
    if t.dim() < 2:
        raise ValueError(f"t must have shape [batch, ...] with at least 2 dimensions, got {tuple(t.shape)}")
    if checks.has_values(t) and not bool((t >= 0).all()):  # NaN fails it as well
        raise ValueError(f"t must be at least 0, or inf where a neuron is silent, got {float(t[~(t >= 0)][0])}")
    step = (t / dt).round()
    return SpikeTimes._trusted(torch.where(step < steps, step, checks.SILENT).to(torch.uint8), steps)


def first_events(
    events: Any, sensor_size: tuple[int, int, int], steps: int, window: float | tuple[float, float] | None = None
) -> SpikeTimes:
    """The first event of each pixel and polarity as its spike: SpikeTimes [1, P, H, W].

    Parameters
    ----------
    events : a structured numpy array with the fields x, y, t, p, as tonic gives them: column, row, time in any unit, polarity
        from 0 to P - 1 (or bool); in any order.
    sensor_size : (W, H, P).
    steps : T, 1 to 254.
    window : the part of the recording that the T steps divide evenly, in the unit of t: (begin, end), without the end; a number
        is the length from the first event on; None is from the first to the last event, which falls into the last step. Other
        events are left out. A time becomes floor((t - begin) T / length), exactly where times and window are integers, else in
        float64.

    Examples
    --------
    >>> kind = [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i2")]
    >>> events = np.array([(1, 0, 40, 1), (1, 0, 90, 1), (2, 1, 75, 0)], kind)
    >>> first_events(events, (3, 2, 2), steps=8, window=(0, 100)).times[0, 1, 0, 1]
    tensor(3, dtype=torch.uint8)
    """
    if not isinstance(sensor_size, (tuple, list)) or len(sensor_size) != 3:
        raise ValueError(f"sensor_size must be (width, height, polarities), got {checks.shown(sensor_size)}")
    width, height, polarities = (checks.integer("sensor_size", size, 1) for size in sensor_size)
    steps = checks.steps(steps)
    x, y, t, p = _fields(events)
    for name, values, size in (("x", x, width), ("y", y, height), ("p", p, polarities)):
        if values.size and not 0 <= values.min() <= values.max() < size:
            raise ValueError(f"events must have {name} from 0 to {size - 1}, got {values.min()} to {values.max()}")
    times = np.full((1, polarities, height, width), checks.SILENT, np.uint8)
    if t.size:
        begin, end = _window(t, window)
        seen = (t >= begin) & ((t < end) if window is not None else True)
        length = (end - begin) or 1
        # A time is in step s or a later one where it is at least begin + s length / T.
        whole = isinstance(length, int)
        edges = [begin - (-length * s // steps) if whole else begin + length * s / steps for s in range(1, steps)]
        step = np.searchsorted(np.array(edges, np.int64 if whole else np.float64), t[seen], side="right")
        np.minimum.at(times[0], (p[seen], y[seen], x[seen]), step.astype(np.uint8))
    return SpikeTimes(torch.from_numpy(times), steps)


def _fields(events: Any) -> tuple[NDArray[Any], ...]:
    """x, y, p as int64 and t as int64 or float64."""
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    if not isinstance(events, np.ndarray) or events.ndim != 1 or not {"x", "y", "t", "p"} <= set(names):
        expected = "a structured array [events] with the fields x, y, t and p"
        raise TypeError(f"events must be {expected}, got {checks.shown(events)}")
    fields = []
    for name in ("x", "y", "t", "p"):
        values, kinds = events[name], "iuf" if name == "t" else "iub"
        if values.dtype.kind not in kinds or values.ndim != 1:
            raise TypeError(f"events must have numbers as {name}, got {values.dtype} of shape {values.shape}")
        if values.dtype == np.uint64 and (values >= 2**63).any():
            raise ValueError(f"events must have {name} below 2^63, got {values.max()}")
        fields.append(values.astype(np.float64 if values.dtype.kind == "f" else np.int64))
    if not np.isfinite(fields[2]).all():
        raise ValueError("events must have finite times")
    return tuple(fields)


def _window(t: NDArray[Any], window: float | tuple[float, float] | None) -> tuple[float, float]:
    """(begin, end): integers, with which Python computes exactly, where times and window are integers."""
    if window is None:
        return t.min().item(), t.max().item()
    if not isinstance(window, (tuple, list)):
        begin = t.min().item()
        end = begin + _number(window)
    elif len(window) == 2:
        begin, end = (_number(value) for value in window)
    else:
        raise ValueError(f"window must be a length or (begin, end), got {checks.shown(window)}")
    if not begin < end:
        raise ValueError(f"window must end after its beginning, got {begin} to {end}")
    return begin, end


def _number(value: Any) -> float:
    """An integer as it is, which a float may not hold."""
    number = checks.real("window", value)
    return int(value) if isinstance(value, (int, np.integer)) else number
