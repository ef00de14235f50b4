"""`encode.first_events`: of each pixel and polarity the first event, in the steps of a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from firstspike import encode, models

from .samples import SILENT, generator

KIND = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "<i2")])


def array(*rows: tuple[Any, ...], kind: np.dtype = KIND) -> np.ndarray:
    return np.array(list(rows), kind)


def test_by_hand() -> None:
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
def test_against_a_loop(time: str, polarity: str) -> None:
    draw = np.random.default_rng(0)
    kind = np.dtype([("t", time), ("x", "<u2"), ("p", polarity), ("y", "<u2")])
    rows = zip(
        draw.integers(0, 1000, 300),
        draw.integers(0, 9, 300),
        draw.integers(0, 2, 300),
        draw.integers(0, 7, 300),
        strict=True,
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
    ("t", "window", "step"),
    [
        (ORIGIN, (0, 2 * ORIGIN), 8),
        (ORIGIN - 1, (0, 2 * ORIGIN), 7),
        (1, (0.75, 1.25), 8),
        (0, (-(10**30), 10**30), 8),
        (2**63 - 1, (2**63 - 1, 2**63), 0),
    ],
)
def test_windows_of_any_size_are_exact(t: int, window: Any, step: int) -> None:
    spikes = encode.first_events(array((0, 0, t, 0)), (1, 1, 1), 16, window)
    assert spikes.times.flatten().tolist() == [step]


def test_no_event_and_one_event() -> None:
    assert encode.first_events(array(), (3, 2, 2), 10).count().item() == 0
    assert encode.first_events(array((1, 1, 7, 0)), (3, 2, 1), 10).times[0, 0, 1, 1] == 0


def test_from_events_to_scores() -> None:
    net = models.build("4C3-AP2-10", input_shape=(2, 6, 8), steps=12, encoder="spikes", generator=generator(0))
    events = array((0, 0, 0, 0), (7, 5, 1000, 1), (3, 2, 500, 1))
    assert net(encode.first_events(events, (8, 6, 2), 12)).shape == (1, 10)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"events": [1, 2]}, TypeError, "events must be a structured array"),
        ({"events": np.zeros(3, [("x", "i2"), ("y", "i2"), ("t", "i8")])}, TypeError, "with the fields x, y, t and p"),
        (
            {"events": np.zeros(3, [("x", "f4"), ("y", "i2"), ("t", "i8"), ("p", "i2")])},
            TypeError,
            "numbers as x, got float32",
        ),
        ({"events": array((3, 0, 0, 0))}, ValueError, "events must have x from 0 to 2, got 3 to 3"),
        ({"events": array((0, -1, 0, 0))}, ValueError, "events must have y from 0 to 1, got -1 to -1"),
        (
            {"events": np.full(1, 2**63, [("x", "i2"), ("y", "i2"), ("t", "u8"), ("p", "i2")])},
            ValueError,
            "events must have t below 2",
        ),
        ({"sensor_size": (3, 2)}, ValueError, r"sensor_size must be \(width, height, polarities\)"),
        ({"sensor_size": (3, 0, 2)}, ValueError, "sensor_size must be at least 1, got 0"),
        ({"steps": 0}, ValueError, "steps must be from 1 to 254, got 0"),
        ({"window": 0}, ValueError, "window must be a finite number"),
        ({"window": (5, 5)}, ValueError, "window must end after its beginning, got 5 to 5"),
        ({"window": "all"}, TypeError, "window must be a number, got 'all'"),
    ],
)
def test_bad_arguments(change: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        encode.first_events(**{"events": array((0, 0, 0, 0)), "sensor_size": (3, 2, 2), "steps": 10, **change})
