"""Random arguments of the bound functions: good ones, and what can be made of them to break a promise."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack

from firstspike.surrogate import KINDS as SURROGATES

HOSTILE_INTEGERS = (-1, 0, 1, 2, 255, 256, *(2**n for n in (16, 31, 32, 40, 62, 64)), 2**31 - 1, 2**63 - 1, -(2**31), -(2**63))
HOSTILE_FLOATS = (0.0, -0.0, -1.0, 1.0, 1e-45, 1e-39, 3e38, 1e300, float("inf"), float("-inf"), float("nan"))
HOSTILE_OBJECTS: tuple[Any, ...] = (None, "", "x", b"x", 0.5, [], (), {}, [1, 2], object, True)
DTYPES = (torch.float32, torch.float64, torch.uint8, torch.int64, torch.int32, torch.float16, torch.bool)


class Draw(random.Random):
    """A source of arguments; tensors until `as_given` makes capsules of them."""

    def some(self, probability: float) -> bool:
        """True so often."""
        return self.random() < probability

    def size(self, most: int = 9) -> int:
        """Of an array or a map, small."""
        return self.randint(1, most)

    def steps(self) -> int:
        """Mostly few."""
        return self.choice((1, 2, 3, 5, 8, 16, 17, 40, 254))

    def floats(self, *shape: int) -> Tensor:
        """Some of them are not finite, or tiny."""
        generator = torch.Generator().manual_seed(self.getrandbits(32))
        x = torch.randn(shape, generator=generator)
        if self.some(0.2):
            odd = torch.tensor(HOSTILE_FLOATS, dtype=torch.float32)
            place = torch.rand(shape, generator=generator) < 0.3
            x = torch.where(place, odd[torch.randint(len(odd), shape, generator=generator)], x)
        return x

    def bytes(self, *shape: int, below: int = 256) -> Tensor:
        """Any byte below a bound."""
        generator = torch.Generator().manual_seed(self.getrandbits(32))
        return torch.randint(below, shape, generator=generator).to(torch.uint8)

    def times(self, *shape: int, steps: int) -> Tensor:
        """Times of a train, now and then with values that no train has."""
        if self.some(0.1):
            return self.bytes(*shape)
        times = self.bytes(*shape, below=steps + 1)
        return times.masked_fill(times == steps, 255)

    def neuron(self) -> tuple[float, ...]:
        """Threshold, decay, the surrogate's kind and its scale, synaptic decay."""
        return (
            self.choice((1.0, 0.5, 1e-3, -1.0)),
            self.choice((1.0, 0.9, 0.25)),
            float(self.randrange(len(SURROGATES))),
            self.choice((0.9, 0.25, 3.0)),
            self.choice((0.0, 0.0, 0.5, 1.0)),
        )

    def threads(self) -> int:
        """One or two."""
        return self.choice((1, 1, 2))

    def spoiled(self, value: Any) -> Any:
        """A value of the kind that it was, or of another, that may break a promise."""
        if self.some(0.1):
            return self.choice(HOSTILE_OBJECTS)
        if isinstance(value, Tensor):
            if value.numel() > 2**20 or value.is_meta:  # what a call of this before has made
                return value
            return self.choice(SPOILED_TENSORS)(self, value)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return self.choice((*HOSTILE_INTEGERS, value + 1, value - 1, 2 * value))
        if isinstance(value, float):
            return self.choice(HOSTILE_FLOATS)
        if isinstance(value, dict) and value:
            key = self.choice(sorted(value))
            return {**value, key: self.spoiled(value[key])}
        if isinstance(value, Sequence) and value and not isinstance(value, str):
            parts = list(value)
            at = self.randrange(len(parts))
            parts[at] = self.spoiled(parts[at])
            if self.some(0.1):
                parts.pop()
            return type(value)(parts)
        return self.choice(HOSTILE_OBJECTS)


def _resized(draw: Draw, x: Tensor) -> Tensor:
    size = max(0, x.numel() + draw.choice((-1, 1, -x.numel(), x.numel())))
    return torch.zeros(size, dtype=x.dtype)


def _strided(draw: Draw, x: Tensor) -> Tensor:
    """Every second element of a larger array."""
    wide = torch.zeros((*x.shape, 2), dtype=x.dtype)
    wide[..., 0] = x
    return wide[..., 0]


def _misaligned(draw: Draw, x: Tensor) -> Tensor:
    """The same elements one byte further on."""
    if not x.is_contiguous() or x.element_size() == 1 or not x.numel():
        return x
    raw = bytearray(1 + x.numel() * x.element_size())
    shifted = torch.frombuffer(raw, dtype=x.dtype, offset=1, count=x.numel())
    return shifted.reshape(x.shape)


def _changed(draw: Draw, x: Tensor) -> Tensor:
    """One element is another number."""
    if not x.numel():
        return x
    y = x.clone(memory_format=torch.contiguous_format)
    number = draw.choice((0, 1, 2, 63, 64, 127, 200, 254, 255))
    if x.dtype == torch.int64:
        number = draw.choice((*(n for n in HOSTILE_INTEGERS if -(2**63) <= n < 2**63), number))
    if x.dtype != torch.bool and x.dtype != torch.int32:
        y.view(-1)[draw.randrange(x.numel())] = number
    return y


def _mixed_up(draw: Draw, x: Tensor) -> Tensor:
    """The same elements in another order."""
    flat = x.reshape(-1)
    order = list(range(len(flat)))
    draw.shuffle(order)
    return flat[order].reshape(x.shape)


SPOILED_TENSORS: tuple[Callable[[Draw, Tensor], Any], ...] = (
    _resized,
    _strided,
    _misaligned,
    _changed,
    _changed,
    _mixed_up,
    lambda draw, x: x.to(draw.choice(DTYPES)),
    lambda draw, x: torch.zeros(1, dtype=x.dtype).expand(x.shape),
    lambda draw, x: torch.zeros(1, dtype=x.dtype).expand(2**31, 2**31),
    lambda draw, x: x.to("meta"),
    lambda draw, x: x.unsqueeze(0),
    lambda draw, x: x.reshape(-1),
    lambda draw, x: x.t() if x.dim() == 2 else x,
)


def as_given(value: Any) -> Any:
    """Tensors as capsules, in tuples and lists as well."""
    if isinstance(value, Tensor):
        return value if value.device.type != "cpu" or value.dtype == torch.bool else to_dlpack(value)
    if isinstance(value, (tuple, list)):
        return type(value)(as_given(x) for x in value)
    return value
