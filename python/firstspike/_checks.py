"""Checks of arguments at the public edge: each names the argument, the value and what was expected."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

MAX_STEPS = 254


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int in [low, high]; TypeError or ValueError otherwise."""
    if type(value) is int and value >= low and (high is None or value <= high):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        raise TypeError(f"{name} must be an int, got {value!r} of type {type(value).__name__}")
    if value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {wanted}, got {value}")
    return int(value) if isinstance(value, int) else value  # type: ignore[return-value]  # a SymInt stays symbolic


def steps(value: object) -> int:
    """Return the number of time steps, an int from 1 to 254 (a time is one byte, 255 is silent)."""
    return integer("steps", value, 1, MAX_STEPS)


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False) -> float:
    """Return `value` as a finite float in [low, high], or (low, high] with `open_low`."""
    if type(value) is float and low < value <= high and value < math.inf:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    value = float(value)
    if not math.isfinite(value) or value < low or value > high or (open_low and value == low):
        raise ValueError(f"{name} must be a finite number in {'(' if open_low else '['}{low}, {high}], got {value}")
    return value


def one_of(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise ValueError for a value that is none of the allowed ones."""
    try:
        if value in allowed:
            return
    except TypeError:  # not hashable, in a set
        pass
    raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def pair(name: str, value: object, low: int) -> tuple[int, int]:
    """Return an int or a pair of ints as a pair (vertical, horizontal)."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{name} must be an int or a pair of ints, got {value!r}")
    return integer(name, both[0], low), integer(name, both[1], low)


def float32(name: str, value: object, dims: int | None = None) -> Tensor:
    """Return a float32 tensor of `dims` dimensions; TypeError for another type, which is never converted silently.

    Under autocast a float16 or bfloat16 tensor is raised to float32: the kernels compute in float32 there.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.dtype != torch.float32:
        if value.dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(value.device.type):
            return float32(name, value.float(), dims)
        raise TypeError(
            f"{name} must be float32, got {value.dtype}; convert it with .float() "
            "(firstspike.reference computes in float64)"
        )
    if dims is not None and value.dim() != dims:
        raise ValueError(f"{name} must have {dims} dimensions, got shape {tuple(value.shape)}")
    return value


def same_device(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise ValueError where two tensors live on different devices."""
    if value.device != other.device:
        raise ValueError(f"{name} is on {value.device} but {other_name} is on {other.device}; move one with .to()")


def bias(value: object, outputs: int) -> Tensor | None:
    """Return a contiguous bias of shape [outputs], or None."""
    if value is None:
        return None
    tensor = float32("bias", value, 1)
    if tensor.shape[0] != outputs:
        raise ValueError(f"bias must have shape [{outputs}], one element an output, got {tuple(tensor.shape)}")
    return tensor.contiguous()
