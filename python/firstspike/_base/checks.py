"""Checks of arguments at the public edge: each names the argument, the value and what was expected."""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_STEPS = 254
MAX_WINDOW = 255  # of a layer of windows: its times are below 255, too
INPUT_STEPS = 15  # of the input's window by default; 255 gained nothing in trials (paper/LABBOOK.md, "Few spikes")
#: The time of a silent neuron.
SILENT = 255

MAX_DECAY, MAX_GROWTH = 2.0, 2.0**32  # of a potential from step to step, and over all steps
_LARGEST, _SMALLEST = torch.finfo(torch.float32).max, torch.finfo(torch.float32).tiny


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int in [low, high]; integers of numpy and torch count as ints, booleans do not."""
    if type(value) is int and value >= low and (high is None or value <= high):
        return value
    try:
        if isinstance(value, bool) or (isinstance(value, Tensor) and (value.dtype == torch.bool or value.is_meta)):
            raise TypeError
        number: Any = value if isinstance(value, torch.SymInt) else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, RuntimeError):
        raise TypeError(f"{name} must be an int, got {shown(value)}") from None
    if number < low or (high is not None and number > high):
        expected = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {expected}, got {number}")
    return number  # type: ignore[no-any-return]  # a SymInt stays symbolic


def size(name: str, value: object, low: int = 1) -> int:
    """Return a number of units, channels or pixels: an int from `low` to 2^31 - 1."""
    number = integer(name, value, low)
    if number >= 2**31:
        raise ValueError(f"{name} must be below 2^31, got {number}")
    return number


def pair(name: str, value: object, low: int) -> tuple[int, int]:
    """Return an int or a pair of ints below 2^31 as a pair (vertical, horizontal)."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{name} must be an int or a pair of ints, got {shown(value)}")
    return size(name, both[0], low), size(name, both[1], low)


def steps(value: object) -> int:
    """Return the number of time steps, an int from 1 to 254 (a time is one byte, 255 is silent)."""
    return integer("steps", value, 1, MAX_STEPS)


def window(value: object) -> int:
    """Return the number of steps of a window, an int from 1 to 255."""
    return integer("steps", value, 1, MAX_WINDOW)


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False) -> float:
    """Return `value` as a finite float in [low, high], or (low, high] with `open_low`.

    Numbers of numpy and tensors with one number count as floats, unless they require a gradient: it would be lost.
    """
    if type(value) is float and low < value <= high and value < math.inf:
        return value
    if isinstance(value, Tensor) and value.numel() == 1 and not (value.requires_grad or value.is_meta):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number without a gradient, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < low or number > high or (open_low and number == low):
        within = f" in {'(' if open_low else '['}{low}, {high}]"
        if high == math.inf:
            within = "" if low == -math.inf else f" above {low:g}" if open_low else f" of at least {low:g}"
        raise ValueError(f"{name} must be a finite number{within}, got {number}")
    return number


def positive(name: str, value: object, high: float = math.inf) -> float:
    """Return `value` as a float in (0, high] that float32 holds as a normal number."""
    if type(value) is float and _SMALLEST <= value <= high and value <= _LARGEST:
        return value
    number = real(name, value, 0.0, high, open_low=True)
    if not _SMALLEST <= number <= _LARGEST:
        raise ValueError(f"{name} must be from {_SMALLEST:.3g} to {_LARGEST:.3g}, as float32 holds it, got {number}")
    return number


def decay(value: object, steps: int = 1) -> float:
    """Return the factor of a potential from step to step as a float in (0, MAX_DECAY].

    Above 1 it grows; ValueError if it grows so much in `steps` that sums could leave float32.
    """
    number = positive("decay", value, MAX_DECAY)
    if number > 1 and number**steps > MAX_GROWTH:
        raise ValueError(f"decay must be at most {MAX_GROWTH ** (1 / steps):.4g} with {steps} steps, got {number:g}")
    return number


def synaptic_decay(value: object) -> float:
    """Return the factor of a synaptic current from step to step as a float in [0, 1]."""
    return real("synaptic_decay", value, 0.0, 1.0)


def boolean(name: str, value: object) -> bool:
    """Return `value`, True or False; TypeError otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return value


def one_of(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise ValueError if `value` is none of the `allowed` ones."""
    if not any(isinstance(value, type(item)) and value == item for item in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {shown(value)}")


def instance(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise TypeError if `value` is not of that kind, which the message calls `wanted`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}")


def optional(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise TypeError if `value` is neither None nor of that kind."""
    if value is not None:
        instance(name, value, kind, expected)


def in_order(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> list[Any]:
    """Return the items of an iterable as a list; TypeError if it is none, or holds another kind of item."""
    if isinstance(value, (Tensor, str, bytes)) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) != 1:
        raise TypeError(f"{name} must be {expected} in order, got {shown(value)}")
    items = list(value)
    for item in items:
        instance(name, item, kind, f"{expected} in order")
    return items


def path(name: str, value: object) -> Path:
    """Return a str or os.PathLike as a Path; TypeError for another type (an int is an open file), ValueError for no name."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a path, a str or os.PathLike, got {shown(value)}")
    if not text or "\0" in text:
        raise ValueError(f"{name} must name a file or a folder, got {text!r}")
    return Path(text)


def float32(name: str, value: object, dims: int | None = None) -> Tensor:
    """Return a dense float32 tensor of `dims` dimensions; TypeError for another type, which is never converted silently.

    Under autocast a float16 or bfloat16 tensor is raised to float32: the kernels compute in float32 there.
    """
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_nested:
        raise TypeError(f"{name} must be a dense torch.Tensor, got {shown(value)}")
    if value.dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(value.device.type):
        value = value.float()
    if value.dtype != torch.float32:
        advice = ".float()" if value.is_floating_point() else ".float(), pixels of 0 to 255 with .float() / 255"
        raise TypeError(f"{name} must be float32, got {value.dtype}; convert it with {advice}")
    if dims is not None and value.dim() != dims:
        raise ValueError(f"{name} must have {dims} dimensions, got shape {tuple(value.shape)}")
    return value


def batch(name: str, value: Any, kinds: tuple[type, ...], expected: str) -> None:
    """Raise TypeError or ValueError if `value` is not of these kinds, or has no values or no dimension of samples."""
    instance(name, value, kinds, expected)
    if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_nested or value.is_meta):
        raise TypeError(f"{name} must be a dense tensor with values, got {shown(value)}")
    if not value.shape:
        raise ValueError(f"{name} must have samples as the first dimension, got a scalar")


def has_values(value: Tensor) -> bool:
    """Whether the values of a tensor can be looked at.

    Not while a graph is traced or captured on CUDA, on the device meta, or within torch.func.
    """
    if torch.compiler.is_compiling() or value.is_meta:
        return False
    if value.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(value)


def finite(name: str, value: Tensor) -> None:
    """Raise ValueError for NaN and infinity in data on the CPU: one sum per call, and a look at each value only if it is odd."""
    if not has_values(value) or value.device.type != "cpu" or not value.numel():
        return
    if not math.isfinite(value.detach().sum().item()):  # also where a sum of finite values is not
        odd = ~value.isfinite()
        if bool(odd.any()):
            where = tuple(int(i) for i in odd.nonzero()[0])
            raise ValueError(f"{name} must be finite, got {float(value[where])} at {where}")


def unit_range(name: str, value: Tensor) -> None:
    """Raise ValueError for data on the CPU that are not in [0, 1]; NaN is not."""
    if has_values(value) and value.device.type == "cpu" and value.numel():
        low, high = (float(v) for v in value.detach().aminmax())
        if not (low >= 0 and high <= 1):  # NaN fails both comparisons
            remedy = "scale the data first, as train.Config(standardize=True) or nn.Normalize.to_unit(images) does"
            raise ValueError(f"{name} must be in [0, 1], got values from {low:.6g} to {high:.6g}; {remedy}")


def same_device(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise ValueError if two tensors live on different devices."""
    if value.device != other.device:
        raise ValueError(f"{name} and {other_name} must be on the same device, got {value.device} and {other.device}")


def bias(value: object, outputs: int) -> Tensor | None:
    """Return a contiguous bias of shape [outputs], or None."""
    if value is None:
        return None
    tensor = float32("bias", value, 1)
    if tensor.shape[0] != outputs:
        raise ValueError(f"bias must have shape [{outputs}], one element per output, got {tuple(tensor.shape)}")
    return tensor.contiguous()


def thresholds(value: object, outputs: int, *, wait: bool = False) -> Tensor:
    """Return thresholds [outputs], float32 and > 0; values on a device are looked at with `wait` alone."""
    tensor = float32("threshold", value, 1)
    if tensor.shape[0] != outputs:
        raise ValueError(f"threshold must be a number or have shape [{outputs}], got shape {tuple(tensor.shape)}")
    if has_values(tensor) and (wait or tensor.device.type == "cpu"):
        good = (tensor > 0) & tensor.isfinite()
        if not bool(good.all()):
            raise ValueError(
                f"threshold must be positive and finite for each output, got {float(tensor.detach()[~good][0])}; "
                "where thresholds are learned, call nn.bound_thresholds(net) after each step of the optimizer"
            )
    return tensor


def labels(value: object, samples: int, classes: int | None = None) -> Tensor:
    """Return labels, int64 [samples]; with `classes` their values are checked as in `labels_in_range`."""
    instance("labels", value, Tensor, f"a torch.Tensor, int64 [{samples}]")
    assert isinstance(value, Tensor)
    if value.dtype != torch.int64 or value.shape != (samples,):
        raise ValueError(f"labels must be int64 [{samples}], one per sample, got {shown(value)}")
    if classes is not None:
        labels_in_range(value, classes)
    return value


def labels_in_range(value: Tensor, classes: int) -> None:
    """Raise ValueError for labels outside 0..classes-1; values on a device are waited for."""
    if value.numel() and has_values(value):
        low, high = int(value.min()), int(value.max())
        if low < 0 or high >= classes:
            raise ValueError(f"labels must be classes in 0..{classes - 1}, got {low if low < 0 else high}")


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 epoch", "2 epochs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown(value: object) -> str:
    """A value for an error message: short, with its type where that says more."""
    if isinstance(value, Tensor) and (value.is_nested or value.is_meta or value.layout != torch.strided):
        kind = "nested" if value.is_nested else str(value.layout)
        return f"a {kind} tensor of type {value.dtype} on {value.device}"
    if isinstance(value, (Tensor, np.ndarray)):
        kind = "tensor" if isinstance(value, Tensor) else "numpy array"
        return f"a {kind} of shape {tuple(value.shape)} and type {value.dtype}"
    text = " ".join(repr(value).split())
    text = text if len(text) <= 100 else f"{text[:97]}..."
    return text if value is None or isinstance(value, (bool, str)) else f"{text} of type {type(value).__name__}"
