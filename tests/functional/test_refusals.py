"""Refusals of firstspike.functional: call, error, and the argument that the message names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from firstspike import SpikeTimes, functional

from ..samples import refusals


def spikes(*shape: int, steps: int = 4) -> SpikeTimes:
    return SpikeTimes(torch.zeros(shape, dtype=torch.uint8), steps)


def linear(*, x: Any = None, weight: Any = None, bias: Any = None, **options: Any) -> Any:
    x = spikes(2, 5) if x is None else x
    return functional.linear(x, torch.zeros(7, 5) if weight is None else weight, bias, **options)


def conv(size: int = 3, **options: Any) -> Any:
    return functional.conv2d(spikes(2, 3, 4, 4), torch.zeros(3, 3, size, size), **options)


def normalize(*shape: int, deviation: Any = 1.0, dtype: Any = torch.float32, **options: Any) -> Any:
    return functional.normalize_weight(torch.ones(shape, dtype=dtype), deviation, **options)


test_calls = refusals(
    (lambda: linear(x=torch.zeros(2, 5)), TypeError, "spikes"),
    (lambda: linear(x=spikes(2, 5, 1)), ValueError, "spikes"),
    (lambda: linear(x=spikes(2, 6)), ValueError, "spikes"),
    (lambda: linear(weight=torch.zeros(7, 5, dtype=torch.float64)), TypeError, "weight"),
    (lambda: linear(weight=torch.zeros(7, 5, 1)), ValueError, "weight"),
    (lambda: linear(weight=torch.zeros(7, 5).numpy()), TypeError, "weight"),
    (lambda: linear(weight=torch.zeros(7, 5).to_sparse()), TypeError, "weight"),
    (lambda: linear(weight=torch.zeros(7, 5, device="meta")), ValueError, "weight"),
    (lambda: linear(bias=torch.zeros(6)), ValueError, "bias"),
    (lambda: linear(avg_pool=2), ValueError, "avg_pool"),
    (lambda: linear(decay=0.0), ValueError, "decay"),
    (lambda: linear(synaptic_decay=1.5), ValueError, "synaptic_decay"),
    (lambda: linear(synaptic_decay=-0.5), ValueError, "synaptic_decay"),
    (lambda: linear(surrogate="triangle"), TypeError, "surrogate"),
    (lambda: linear(threshold=float("nan")), ValueError, "threshold"),
    (lambda: linear(threshold=torch.ones(3)), ValueError, "threshold"),
    (lambda: linear(threshold=-torch.ones(7)), ValueError, "threshold"),
    (lambda: linear(shortcut=torch.zeros(2)), TypeError, "shortcut"),
    (lambda: linear(shortcut=spikes(2, 8)), ValueError, "shortcut"),
    (lambda: linear(shortcut=spikes(3, 7)), ValueError, "shortcut"),
    (lambda: linear(shortcut=spikes(2, 7, steps=5)), ValueError, "shortcut"),
    (lambda: linear(shortcut=spikes(2, 7, 1, 1)), ValueError, "shortcut"),
    (lambda: linear(x=spikes(2, 5, 2, 2), avg_pool=2, shortcut=spikes(2, 7)), ValueError, "shortcut"),
    (lambda: linear(shortcut=spikes(2, 7), shortcut_scale=torch.ones(3)), ValueError, "shortcut_scale"),
    (lambda: linear(shortcut=spikes(2, 7), shortcut_scale="one"), TypeError, "shortcut_scale"),
    (lambda: conv(stride=0), ValueError, "stride"),
    (lambda: conv(padding=(1, 2, 3)), ValueError, "padding"),
    (lambda: conv(size=5), ValueError, "weight"),
    (lambda: conv(size=1, padding=1, shortcut=spikes(2, 3, 6, 6)), ValueError, "shortcut"),
    (lambda: conv(padding=1, shortcut=spikes(2, 3, 5, 4)), ValueError, "shortcut"),
    (lambda: functional.conv2d(spikes(2, 5), torch.zeros(3, 3, 3, 3)), ValueError, "spikes"),
    (lambda: functional.integrate(spikes(2, 5), torch.zeros(7, 5), decay=3.0), ValueError, "decay"),
    (lambda: functional.integrate(spikes(2, 5), torch.zeros(7, 6)), ValueError, "weight"),
    (lambda: functional.ramp(torch.zeros(2, 0), 4), ValueError, "current"),
    (lambda: functional.ramp(torch.zeros(2, 3), 0), ValueError, "steps"),
    (lambda: functional.fire(torch.zeros(4)), ValueError, "current"),
    (lambda: functional.fire(torch.zeros(4, 2, dtype=torch.int64)), TypeError, "current"),
    (lambda: functional.earliest(spikes(2, 5), spikes(2, 6)), ValueError, "b"),
    (lambda: functional.earliest(spikes(2, 5), spikes(2, 5, steps=5)), ValueError, "b"),
    (lambda: functional.earliest(spikes(2, 5), torch.zeros(2, 5)), TypeError, "b"),
    (lambda: functional.dropout(torch.zeros(2, 5), 0.5), TypeError, "spikes"),
    (lambda: functional.dropout(spikes(2, 0), 0.5), ValueError, "spikes"),
    (lambda: functional.dropout(spikes(2, 5), 1.5), ValueError, "p"),
    (lambda: functional.dropout(spikes(2, 5), 0.5, seed=3), TypeError, "seed"),
    (lambda: functional.dropout(spikes(2, 5), 0.5, seed=torch.zeros(1)), TypeError, "seed"),
    (lambda: normalize(3, 4, dtype=torch.float64), TypeError, "weight"),
    (lambda: normalize(3), ValueError, "weight"),
    (lambda: normalize(3, 0), ValueError, "weight"),
    (lambda: normalize(3, 4, deviation=0.0), ValueError, "deviation"),
    (lambda: normalize(3, 4, gamma=torch.ones(2)), ValueError, "gamma"),
    (lambda: normalize(3, 4, gamma=torch.ones(3, dtype=torch.float64)), TypeError, "gamma"),
    (lambda: normalize(3, 4, granularity="column"), ValueError, "granularity"),
)


def test_a_device_without_kernels() -> None:
    with FakeTensorMode(), pytest.raises(RuntimeError, match="xpu"):
        functional.ramp(torch.zeros(2, 3, device="xpu"), 4)
