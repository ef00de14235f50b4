"""Bad input of every public function of SpikeTimes, surrogate and functional: errors name argument and value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional, surrogate


def spikes(*shape: int, steps: int = 4) -> SpikeTimes:
    """All neurons fire at step 0."""
    return SpikeTimes(torch.zeros(shape, dtype=torch.uint8), steps)


def floats(*shape: int) -> Tensor:
    """Zeros, float32."""
    return torch.zeros(shape)


FLAT, MAP = spikes(2, 12), spikes(2, 3, 4, 6)
W, K = floats(5, 12), floats(5, 3, 3, 3)

# Arguments that several functions share: name, value, error, what the message says besides the name.
NEURON: list[tuple[str, Any, type[Exception], str]] = [
    ("threshold", "1", TypeError, "'1'"),
    ("threshold", None, TypeError, "None"),
    ("threshold", True, TypeError, "True"),
    ("threshold", math.nan, ValueError, "nan"),
    ("threshold", math.inf, ValueError, "inf"),
    ("decay", "0.5", TypeError, "'0.5'"),
    ("decay", 0, ValueError, "0"),
    ("decay", -0.5, ValueError, "-0.5"),
    ("decay", 2.5, ValueError, "2.5"),
    ("decay", math.nan, ValueError, "nan"),
    ("surrogate", "triangle", TypeError, "triangle"),
    ("surrogate", None, TypeError, "None"),
]
POOL: list[tuple[str, Any, type[Exception], str]] = [
    ("avg_pool", 0, ValueError, "0"),
    ("avg_pool", -2, ValueError, "-2"),
    ("avg_pool", 2.0, TypeError, "2.0"),
    ("avg_pool", (2, 2), TypeError, r"\(2, 2\)"),
    ("avg_pool", 99, ValueError, "99"),
]

CALLS: dict[str, Callable[..., Any]] = {
    "ramp": lambda current=floats(2, 5), steps=4, **o: functional.ramp(current, steps, **o),
    "linear": lambda spikes=FLAT, weight=W, bias=None, **o: functional.linear(spikes, weight, bias, **o),
    "linear map": lambda spikes=MAP, weight=floats(5, 18), bias=None, avg_pool=2, **o: functional.linear(
        spikes, weight, bias, avg_pool=avg_pool, **o
    ),
    "conv2d": lambda spikes=MAP, weight=K, bias=None, **o: functional.conv2d(spikes, weight, bias, **o),
    "integrate": lambda spikes=FLAT, weight=W, bias=None, **o: functional.integrate(spikes, weight, bias, **o),
    "integrate map": lambda spikes=MAP, weight=floats(5, 18), bias=None, avg_pool=2, **o: functional.integrate(
        spikes, weight, bias, avg_pool=avg_pool, **o
    ),
    "fire": lambda current=floats(4, 2, 5), **o: functional.fire(current, **o),
}

WEIGHTED: list[tuple[str, Any, type[Exception], str]] = [
    ("spikes", FLAT.times, TypeError, "Tensor"),
    ("spikes", None, TypeError, "None"),
    ("weight", [[1.0]], TypeError, "list"),
    ("weight", W.double(), TypeError, "float64"),
    ("weight", W.half(), TypeError, "float16"),
    ("weight", W.int(), TypeError, "int32"),
    ("weight", floats(12), ValueError, r"12"),
    ("weight", floats(5, 13), ValueError, "13"),
    ("weight", floats(5, 12, 1), ValueError, r"5, 12, 1"),
    ("bias", floats(4), ValueError, "4"),
    ("bias", floats(5, 1), ValueError, "5, 1"),
    ("bias", floats(5).double(), TypeError, "float64"),
    ("bias", 0.5, TypeError, "float"),
    ("bias", floats(5).to("meta"), ValueError, "must be on the same device"),
    ("weight", floats(5, 12).to("meta"), ValueError, "must be on the same device"),
]

CASES: list[tuple[str, str, Any, type[Exception], str]] = [
    *[("linear", *case) for case in WEIGHTED + NEURON],
    *[("integrate", *case) for case in WEIGHTED + [c for c in NEURON if c[0] == "decay"]],
    *[(name, *case) for name in ("linear map", "integrate map", "conv2d") for case in POOL],
    *[(name, "weight", floats(5, 17), ValueError, "17") for name in ("linear map", "integrate map")],
    *[(name, "avg_pool", 2, ValueError, "2") for name in ("linear", "integrate")],
    *[("conv2d", *case) for case in NEURON],
    ("conv2d", "spikes", FLAT, ValueError, "2, 12"),
    ("conv2d", "spikes", MAP.dense(), TypeError, "Tensor"),
    ("conv2d", "weight", K.double(), TypeError, "float64"),
    ("conv2d", "weight", floats(5, 3, 3), ValueError, "5, 3, 3"),
    ("conv2d", "weight", floats(5, 4, 3, 3), ValueError, "4"),
    ("conv2d", "weight", floats(5, 3, 5, 3), ValueError, "5"),
    ("conv2d", "bias", floats(6), ValueError, "6"),
    ("conv2d", "stride", 0, ValueError, "0"),
    ("conv2d", "stride", (1, 0), ValueError, "0"),
    ("conv2d", "stride", 1.0, TypeError, "1.0"),
    ("conv2d", "stride", (1, 1, 1), ValueError, r"\(1, 1, 1\)"),
    ("conv2d", "padding", -1, ValueError, "-1"),
    ("conv2d", "padding", "same", TypeError, "same"),
    ("conv2d", "padding", (0, -1), ValueError, "-1"),
    *[("ramp", *case) for case in NEURON],
    ("ramp", "current", [1.0], TypeError, "list"),
    ("ramp", "current", floats(2, 5).double(), TypeError, "float64"),
    ("ramp", "current", floats(5), ValueError, "5"),
    ("ramp", "steps", 0, ValueError, "0"),
    ("ramp", "steps", 255, ValueError, "255"),
    ("ramp", "steps", 4.0, TypeError, "4.0"),
    ("ramp", "steps", True, TypeError, "True"),
    *[("fire", *case) for case in NEURON],
    ("fire", "current", None, TypeError, "None"),
    ("fire", "current", floats(4, 2, 5).double(), TypeError, "float64"),
    ("fire", "current", floats(4, 2, 5).long(), TypeError, "int64"),
    ("fire", "current", floats(5), ValueError, "5"),
]


@pytest.mark.parametrize("name", CALLS)
def test_good_input_is_accepted(name: str) -> None:
    """Otherwise the cases below would fail for another reason."""
    CALLS[name]()
    if name != "integrate" and name != "integrate map":
        CALLS[name](threshold=2, decay=1, surrogate=surrogate.rectangle())


@pytest.mark.parametrize(("call", "argument", "value", "error", "says"), CASES, ids=lambda v: str(v)[:24])
def test_bad_argument(call: str, argument: str, value: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        CALLS[call](**{argument: value})
    assert caught.match(rf"(?s){argument}.*{says}"), caught.value


TIMES: list[tuple[Any, Any, type[Exception], str]] = [
    ([[0]], 4, TypeError, "times.*list"),
    (floats(2, 3), 4, TypeError, "times.*float32"),
    (floats(2, 3).long(), 4, TypeError, "times.*int64"),
    (torch.zeros(3, dtype=torch.uint8), 4, ValueError, r"times.*\(3,\)"),
    (torch.tensor([[0, 4]], dtype=torch.uint8), 4, ValueError, r"times.*4.*\(0, 1\)"),
    (torch.tensor([[0, 254]], dtype=torch.uint8), 254, ValueError, r"times.*254.*\(0, 1\)"),
    (torch.zeros(1, 1, dtype=torch.uint8), 0, ValueError, "steps.*0"),
    (torch.zeros(1, 1, dtype=torch.uint8), 255, ValueError, "steps.*255"),
    (torch.zeros(1, 1, dtype=torch.uint8), 4.0, TypeError, "steps.*4.0"),
    (torch.zeros(1, 1, dtype=torch.uint8), None, TypeError, "steps.*None"),
]


@pytest.mark.parametrize(("times", "steps", "error", "message"), TIMES, ids=lambda v: str(v)[:24])
def test_bad_times(times: Any, steps: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SpikeTimes(times, steps)


METHODS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "from_dense of a list": (lambda: SpikeTimes.from_dense([[[0.0]]]), TypeError, "x.*list"),
    "from_dense of float64": (lambda: SpikeTimes.from_dense(floats(1, 1, 1).double()), TypeError, "x.*float64"),
    "from_dense of two dimensions": (lambda: SpikeTimes.from_dense(floats(1, 1)), ValueError, r"x.*\(1, 1\)"),
    "from_dense of 255 steps": (lambda: SpikeTimes.from_dense(floats(255, 1, 1)), ValueError, "steps.*255"),
    "from_dense of no steps": (lambda: SpikeTimes.from_dense(floats(0, 1, 1)), ValueError, "steps.*0"),
    "index by a number": (lambda: FLAT[0], TypeError, "index.*0"),
    "index by a tuple": (lambda: FLAT[:, 0], TypeError, "index"),
    "reshape of the batch": (lambda: FLAT.reshape(12, 2), ValueError, r"12"),
    "reshape to another size": (lambda: FLAT.reshape(2, 7), (ValueError, RuntimeError), "7"),
    "reshape to one dimension": (lambda: spikes(2, 1).reshape(2), ValueError, "2"),
    "flatten of the batch": (lambda: FLAT.flatten(0), ValueError, "start_dim.*0"),
    "flatten beyond the end": (lambda: FLAT.flatten(2), ValueError, "start_dim.*2"),
    "seconds with a word": (lambda: FLAT.seconds("ms"), TypeError, "dt.*ms"),
    "seconds before 0": (lambda: FLAT.seconds(-1.0), ValueError, "dt.*-1"),
}


@pytest.mark.parametrize("name", METHODS)
def test_bad_use_of_spike_times(name: str) -> None:
    call, error, message = METHODS[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("make", [surrogate.triangle, surrogate.rectangle, surrogate.atan, surrogate.sigmoid])
@pytest.mark.parametrize(
    ("scale", "error"),
    [
        (0, ValueError),
        (-1.0, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
def test_bad_scale(make: Callable[..., Any], scale: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"(width|alpha).*{scale}"):
        make(scale)


def test_unknown_surrogate() -> None:
    with pytest.raises(ValueError, match="kind.*square"):
        surrogate.Surrogate("square", 1.0)


def test_devices_must_agree() -> None:
    """The meta device stands for another one."""
    with pytest.raises(ValueError, match="weight.*meta.*cpu|cpu.*meta"):
        functional.linear(FLAT, W.to("meta"))
