"""Encoders: the bits of latency coding (test_decode.py compares it with the reference), seconds, events, and bad input."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from firstspike import SpikeTimes, encode
from firstspike._base.checks import SILENT


@pytest.mark.parametrize("steps", [1, 2, 8, 9, 254])
def test_linear_times_have_the_bits_of_the_formula(steps: int) -> None:
    """In single precision, for blocks of every length: grey levels, halves, numbers that are almost 0 or 1."""
    x = torch.cat(
        [
            torch.rand(40000, generator=torch.Generator().manual_seed(0)),
            torch.arange(256) / 255,
            torch.linspace(0, 1, 2 * steps + 1),
        ]
    )
    x = torch.cat([x, torch.tensor([-0.0, 1e-40, 1 - 2**-24])]).view(1, -1)
    expected = ((1 - x) * (steps - 1)).round().to(torch.uint8).masked_fill(x == 0, SILENT)
    assert torch.equal(encode.latency(x, steps).times, expected)


def test_the_operator_gives_times_whatever_comes() -> None:
    """`encode.latency` refuses such values; a traced net checks nothing."""
    x = torch.tensor([[float("nan"), float("inf"), -float("inf"), -3.0, 7.0]])
    times = torch.ops.firstspike.latency(x, 8, 0)
    assert times[0, 1:].tolist() == [0, 7, 7, 0] and int(times[0, 0]) < 8


def test_keeps_the_shape_of_maps_and_empty_batches() -> None:
    x = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    spikes = encode.latency(x, 8)
    assert spikes.shape == x.shape and spikes.times.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(spikes.times[1], encode.latency(x[1:], 8).times[0])
    assert encode.latency(torch.zeros(0, 3), 8).shape == (0, 3)


def test_seconds_by_hand() -> None:
    t = torch.tensor([[0.0, 0.24, 0.26, 0.75, 3.4, 3.75, 4.0, torch.inf]])
    spikes = encode.seconds(t, dt=0.5, steps=8)
    assert spikes.times.tolist() == [[0, 0, 1, 2, 7, 255, 255, 255]] and spikes.steps == 8  # 1.5 and 7.5: to even


@given(times=st.lists(st.integers(0, 253) | st.just(255), min_size=1), dt=st.floats(1e-6, 1e6))
def test_seconds_and_back(times: list[int], dt: float) -> None:
    spikes = SpikeTimes(torch.tensor([times], dtype=torch.uint8), 254)
    assert encode.seconds(spikes.seconds(dt), dt, 254) == spikes


# Events: of each pixel and polarity the first one, in the steps of a window

KIND = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "<i2")])


def array(*rows: tuple[Any, ...], kind: np.dtype = KIND) -> np.ndarray:
    return np.array(list(rows), kind)


def test_first_events_by_hand() -> None:
    events = array((0, 0, 100, 0), (1, 0, 150, 1), (0, 0, 120, 0), (2, 1, 199, 0), (1, 0, 149, 1))
    spikes = encode.first_events(events, (3, 2, 2), 10, window=(100, 200))
    expected = torch.full((1, 2, 2, 3), SILENT, dtype=torch.uint8)
    expected[0, 0, 0, 0], expected[0, 1, 0, 1], expected[0, 0, 1, 2] = 0, 4, 9
    assert torch.equal(spikes.times, expected) and spikes.steps == 10
    assert torch.equal(encode.first_events(events[::-1], (3, 2, 2), 10, (100, 200)).times, expected)
    assert torch.equal(encode.first_events(events, (3, 2, 2), 10, 100).times, expected)
    whole = encode.first_events(events, (3, 2, 2), 10)  # 100 to 199, both included
    assert whole.times[0, 0, 1, 2] == 9 and whole.times[0, 1, 0, 1] == 4
    assert encode.first_events(events, (3, 2, 2), 10, (120, 150)).count().item() == 2


@pytest.mark.parametrize("time", ["<f4", "<f8", "<u4"])
@pytest.mark.parametrize("polarity", ["?", "<u1"])
def test_first_events_against_a_loop(time: str, polarity: str) -> None:
    draw = np.random.default_rng(0)
    kind = np.dtype([("t", time), ("x", "<u2"), ("p", polarity), ("y", "<u2")])
    rows = zip(
        draw.integers(0, 1000, 300), draw.integers(0, 9, 300), draw.integers(0, 2, 300), draw.integers(0, 7, 300), strict=True
    )
    events = array(*rows, kind=kind)
    spikes = encode.first_events(events, (9, 7, 2), 16, window=(200, 700))
    expected = np.full((1, 2, 7, 9), SILENT, np.uint8)
    for e in events:
        if 200 <= e["t"] < 700:
            place = (0, int(e["p"]), int(e["y"]), int(e["x"]))
            expected[place] = min(expected[place], int((float(e["t"]) - 200) * 16 // 500))
    assert np.array_equal(spikes.times.numpy(), expected)


ORIGIN = 1_700_000_000_000_000_000  # nanoseconds since 1970: a float counts them in steps of 256


@pytest.mark.parametrize("window", [None, 700, (200, 700)])
def test_the_origin_of_integer_times_does_not_count(window: Any) -> None:
    draw = np.random.default_rng(0)
    rows = zip(*(draw.integers(0, most, 300) for most in (9, 7, 1000, 2)), strict=True)
    events = array(*rows)
    expected = encode.first_events(events, (9, 7, 2), 16, window)
    events["t"] += ORIGIN
    moved = tuple(np.int64(edge + ORIGIN) for edge in window) if isinstance(window, tuple) else window
    assert expected.count() > 50
    assert torch.equal(encode.first_events(events, (9, 7, 2), 16, moved).times, expected.times)


@pytest.mark.parametrize(
    ("t", "window", "step"), [(ORIGIN, (0, 2 * ORIGIN), 8), (ORIGIN - 1, (0, 2 * ORIGIN), 7), (1, (0.75, 1.25), 8)]
)
def test_windows_of_any_size_are_exact(t: int, window: Any, step: int) -> None:
    spikes = encode.first_events(array((0, 0, t, 0)), (1, 1, 1), 16, window)
    assert spikes.times.flatten().tolist() == [step]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"events": [1, 2]}, TypeError),
        ({"events": np.zeros(3, [("x", "i2"), ("y", "i2"), ("t", "i8")])}, TypeError),
        ({"events": np.zeros(3, [("x", "f4"), ("y", "i2"), ("t", "i8"), ("p", "i2")])}, TypeError),
        ({"events": array((3, 0, 0, 0))}, ValueError),
        ({"events": array((0, -1, 0, 0))}, ValueError),
        ({"events": np.full(1, 2**63, [("x", "i2"), ("y", "i2"), ("t", "u8"), ("p", "i2")])}, ValueError),
        ({"sensor_size": (3, 2)}, ValueError),
        ({"sensor_size": (3, 0, 2)}, ValueError),
        ({"steps": 0}, ValueError),
        ({"window": 0}, ValueError),
        ({"window": (5, 5)}, ValueError),
        ({"window": "all"}, TypeError),
    ],
)
def test_refusals_of_first_events(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(change))):
        encode.first_events(**{"events": array((0, 0, 0, 0)), "sensor_size": (3, 2, 2), "steps": 10, **change})
