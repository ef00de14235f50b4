"""Checks of arguments at the public edge: each names the argument, the value and what was expected."""

from __future__ import annotations

import math
import numbers
import operator
import os
import sys
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MAX_STEPS = 254
#: The time of a silent neuron.
SILENT = 255

_LARGEST = torch.finfo(torch.float32).max
_SMALLEST = torch.finfo(torch.float32).tiny


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int in [low, high]; TypeError or ValueError otherwise.

    Integers of numpy and tensors of torch with one integer count as ints; booleans do not.
    """
    if type(value) is int and value >= low and (high is None or value <= high):
        return value
    number = value if isinstance(value, torch.SymInt) else _as_int(value)
    if number is None:
        raise TypeError(f"{name} must be an int, got {shown(value)}")
    if number < low or (high is not None and number > high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {wanted}, got {number}")
    return number  # type: ignore[return-value]  # a SymInt stays symbolic


def size(name: str, value: object) -> int:
    """Return a number of units, channels or pixels: an int from 1 to 2^31 - 1."""
    number = integer(name, value, 1)
    if number >= 2**31:
        raise ValueError(f"{name} must be below 2^31, got {shown(number)}")
    return number


def path(name: str, value: object) -> Path:
    """Return a str or os.PathLike as a Path; TypeError for another type (an int is an open file), ValueError for no name."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a path, a str or os.PathLike, got {shown(value)}")
    if not text or "\0" in text:
        raise ValueError(f"{name} must name a file or a folder, got {text!r}")
    return Path(text)


def function(name: str, value: object) -> None:
    """Raise TypeError where `value` cannot be called, or is a class: a call would make an object and do nothing else."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {shown(value)}")
    if isinstance(value, type):
        raise TypeError(f"{name} must be a function, got the class {value.__name__}")


def in_order(name: str, value: object, kind: type | tuple[type, ...], wanted: str) -> list[Any]:
    """Return the items of an iterable as a list; TypeError where it is none, or holds another kind of item."""
    if isinstance(value, (Tensor, str, bytes)) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) != 1:
        raise TypeError(f"{name} must be {wanted} in order, got {shown(value)}")
    items = list(value)
    for item in items:
        if not isinstance(item, kind):
            raise TypeError(f"{name} must be {wanted} in order, got {type(item).__name__}")
    return items


def steps(value: object) -> int:
    """Return the number of time steps, an int from 1 to 254 (a time is one byte, 255 is silent)."""
    return integer("steps", value, 1, MAX_STEPS)


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False) -> float:
    """Return `value` as a finite float in [low, high], or (low, high] with `open_low`.

    Numbers of numpy and tensors of torch with one number count as floats, unless they require a gradient: it would be lost.
    """
    if type(value) is float and low < value <= high and value < math.inf:
        return value
    number = _as_float(name, value)
    if not math.isfinite(number) or number < low or number > high or (open_low and number == low):
        raise ValueError(f"{name} must be a finite number{_interval(low, high, open_low)}, got {number}")
    return number


def _interval(low: float, high: float, open_low: bool) -> str:
    if high == math.inf:
        return "" if low == -math.inf else f" above {low:g}" if open_low else f" of at least {low:g}"
    return f" in {'(' if open_low else '['}{low}, {high}]"


def positive(name: str, value: object, high: float = math.inf) -> float:
    """Return `value` as a float in (0, high] that float32 holds as a normal number, neither rounded to 0 nor to infinity."""
    if type(value) is float and _SMALLEST <= value <= high and value <= _LARGEST:
        return value
    number = real(name, value, 0.0, high, open_low=True)
    if not _SMALLEST <= number <= _LARGEST:
        raise ValueError(
            f"{name} must be from {_SMALLEST:.3g} to {_LARGEST:.3g}, as it is held in float32, got {number}"
        )
    return number


def one_of(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise ValueError where `value` is none of the `allowed` ones."""
    if type(value) is str and value in allowed:
        return
    if not any(isinstance(value, type(item)) and value == item for item in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {shown(value)}")


def boolean(name: str, value: object) -> bool:
    """Return `value`, True or False; TypeError otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return value


def instance(name: str, value: object, kind: type | tuple[type, ...], wanted: str) -> None:
    """Raise TypeError where `value` is not of that kind, which is called `wanted` in the message."""
    if not isinstance(value, kind):
        held = getattr(value, "model", None)  # of a train.Trained
        hint = f"; {name}.model is its net" if isinstance(held, kind) and isinstance(held, nn.Module) else ""
        raise TypeError(f"{name} must be {wanted}, got {type(value).__name__}{hint}")


def optional(name: str, value: object, kind: type | tuple[type, ...], wanted: str) -> None:
    """Raise TypeError where `value` is neither None nor of that kind."""
    if value is not None:
        instance(name, value, kind, wanted)


def pair(name: str, value: object, low: int) -> tuple[int, int]:
    """Return an int or a pair of ints below 2^31 as a pair (vertical, horizontal)."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{name} must be an int or a pair of ints, got {shown(value)}")
    first, second = (integer(name, each, low) for each in both)
    if max(first, second) >= 2**31:
        raise ValueError(f"{name} must be below 2^31, got {shown(value)}")
    return first, second


def float32(name: str, value: object, dims: int | None = None) -> Tensor:
    """Return a float32 tensor of `dims` dimensions; TypeError for another type, which is never converted silently.

    Under autocast a float16 or bfloat16 tensor is raised to float32: the kernels compute in float32 there.
    """
    if not isinstance(value, Tensor):
        advice = "; convert it with torch.from_numpy" if isinstance(value, np.ndarray) else ""
        raise TypeError(f"{name} must be a torch.Tensor, got {shown(value)}{advice}")
    if value.dtype != torch.float32:
        if value.dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(value.device.type):
            return float32(name, value.float(), dims)
        advice = (
            ".float() (firstspike.reference computes in float64)"
            if value.is_floating_point()
            else ".float(), pixels of 0 to 255 with .float() / 255"
        )
        raise TypeError(f"{name} must be float32, got {value.dtype}; convert it with {advice}")
    dense(name, value)
    if dims is not None and value.dim() != dims:
        raise ValueError(f"{name} must have {dims} dimensions, got shape {tuple(value.shape)}")
    return value


def dense(name: str, value: Tensor) -> None:
    """Raise TypeError for a sparse tensor."""
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got layout {value.layout}; convert it with .to_dense()")


def readable(name: str, value: Tensor) -> None:
    """Raise TypeError for a tensor that is not dense, or has no values (on the device meta)."""
    dense(name, value)
    if value.is_meta:
        raise TypeError(f"{name} must be a tensor with values, got one on the device meta")


def batch(name: str, value: Any, kinds: tuple[type, ...], wanted: str) -> None:
    """Raise TypeError or ValueError where `value` is not of these kinds, not readable, or has no dimension of samples."""
    instance(name, value, kinds, wanted)
    if isinstance(value, Tensor):
        readable(name, value)
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


def device(value: object) -> torch.device:
    """Return a torch.device of a device, its name or a CUDA device's number; TypeError or ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"cuda:{value}"
    if not isinstance(value, (torch.device, str)):
        raise TypeError(f"device must be a torch.device, its name or its number, got {shown(value)}")
    try:
        return torch.device(value)
    except RuntimeError as error:
        raise ValueError(f"device must be one that torch knows, got {value!r}") from error


def finite(name: str, value: Tensor) -> None:
    """Raise ValueError for NaN and infinity in data on the CPU: one sum per call, and a look at each value only if it is odd.

    A sum of finite values may be infinite, so it is not taken at its word. Nothing is checked while a graph is traced.
    """
    if not has_values(value) or value.device.type != "cpu" or not value.numel():
        return
    total = (value.detach() if value.requires_grad else value).sum()
    if not math.isfinite(total.item()):
        odd = ~value.isfinite()
        if bool(odd.any()):
            where = tuple(int(i) for i in odd.nonzero()[0])
            raise ValueError(f"{name} must be finite, got {float(value[where])} at {where}")


def same_device(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise ValueError where two tensors live on different devices."""
    if value.device != other.device:
        raise ValueError(
            f"{name} and {other_name} must be on the same device, got {value.device} and {other.device}; move one with .to()"
        )


def bias(value: object, outputs: int) -> Tensor | None:
    """Return a contiguous bias of shape [outputs], or None."""
    if value is None:
        return None
    tensor = float32("bias", value, 1)
    if tensor.shape[0] != outputs:
        raise ValueError(f"bias must have shape [{outputs}], one element per output, got {tuple(tensor.shape)}")
    return tensor.contiguous()


def shown(value: object) -> str:
    """A value for an error message: short, with its type where that says more."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and type {value.dtype}"
    if isinstance(value, np.ndarray):
        return f"a numpy array of shape {value.shape} and type {value.dtype}"
    if value is None or isinstance(value, (bool, str)):
        return _shortened(repr(value))
    return f"{_shortened(repr(value))} of type {type(value).__name__}"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _as_int(value: object) -> int | None:
    if isinstance(value, bool) or (isinstance(value, Tensor) and (value.dtype == torch.bool or value.is_meta)):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, RuntimeError):
        return None


def _as_float(name: str, value: object) -> float:
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.dtype == torch.bool or value.is_complex() or value.is_meta:
            raise TypeError(f"{name} must be a number, got {shown(value)}")
        if value.requires_grad:
            raise TypeError(f"{name} must be a number without a gradient, got a tensor that requires one")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a finite number, got {shown(value)}") from None


MAX_DECAY, MAX_GROWTH = 2.0, 2.0**32  # of a potential from step to step, and over all steps


def decay(value: object, steps: int = 1) -> float:
    """Return the factor of a potential from step to step as a float in (0, MAX_DECAY].

    Above 1 it grows; ValueError where it would grow so much in `steps` that sums could leave float32.
    """
    number = positive("decay", value, MAX_DECAY)
    if number > 1 and number**steps > MAX_GROWTH:
        raise ValueError(
            f"decay must be at most {MAX_GROWTH ** (1 / steps):.4g} with {steps} steps, in which a potential would grow "
            f"{MAX_GROWTH:.3g}-fold with it, got {number:g}"
        )
    return number


def thresholds(value: object, outputs: int, *, wait: bool = False) -> Tensor:
    """Return thresholds [outputs], float32 and > 0; values on a device are looked at with `wait` alone."""
    tensor = float32("threshold", value, 1)
    if tensor.shape[0] != outputs:
        raise ValueError(
            f"threshold must be a number or have shape [{outputs}], one per output, got shape {tuple(tensor.shape)}"
        )
    if not wait and tensor.device.type != "cpu":
        return tensor
    if has_values(tensor) and not bool(((tensor > 0) & tensor.isfinite()).all()):
        wrong = tensor.detach()[~((tensor > 0) & tensor.isfinite())]
        raise ValueError(
            f"threshold must be positive and finite for each output, got {float(wrong[0])}; where thresholds are learned, call "
            "nn.bound_thresholds(net) after each step of the optimizer"
        )
    return tensor


def check_single_spikes(x: Tensor, several: bool) -> None:
    """Raise ValueError for a dense train of other values than zeros and ones; unless `several`, of neurons that fire twice."""
    odd = (x != 0) & (x != 1)
    if bool(odd.any()):
        where = tuple(int(i) for i in odd.nonzero()[0])
        raise ValueError(f"x must hold zeros and ones, got {float(x[where])} at [step, batch, ...] = {where}")
    twice = x.sum(0) > 1
    if not several and bool(twice.any()):
        where = tuple(int(i) for i in twice.nonzero()[0])
        steps = [int(t) for t in x.movedim(0, -1)[where].nonzero().flatten()]
        raise ValueError(
            f"x must fire at most once per neuron, but neuron [batch, ...] = {where} fires at steps {steps}; "
            "keep='first' takes the first spike"
        )


def warn(message: str) -> None:
    """Warn at the line of the user's code that called into firstspike."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and is_known(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def is_known(module: str) -> bool:
    """Whether a module of this name is firstspike's or torch's."""
    return module.partition(".")[0] in ("firstspike", "torch")


def labels(value: object, samples: int, classes: int | None = None) -> Tensor:
    """Return labels, int64 [samples]; ValueError otherwise, TypeError where they are no tensor. classes: as in `in_range`."""
    if not isinstance(value, Tensor):
        raise TypeError(f"labels must be a torch.Tensor, int64 [{samples}], got {type(value).__name__}")
    if value.dtype != torch.int64 or value.shape != (samples,):
        raise ValueError(f"labels must be int64 [{samples}], one per sample, got {shown(value)}")
    if classes is not None:
        labels_in_range(value, classes)
    return value


def labels_in_range(value: Tensor, classes: int) -> None:
    """Raise ValueError for labels outside 0..classes-1; values on a device are waited for."""
    if not value.numel() or not has_values(value):
        return
    low, high = int(value.min()), int(value.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels must be classes in 0..{classes - 1}, got {low if low < 0 else high}")
