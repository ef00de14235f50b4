"""The string grammar of nets: "784-400-400-10", "32C3-AP2-64C3-AP2-256-10"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

POOLS = {"AP": "avg", "MP": "max", "EP": "earliest"}
_N = r"0|[1-9][0-9]{0,8}"  # no leading zeros, so that a net has one string
_TOKEN = re.compile(rf"(?P<channels>{_N})C(?P<kernel>{_N})|(?P<pool>[A-Z]+P)(?P<factor>{_N})|(?P<width>{_N})")
_EXPECTED = "expected nCk (convolution), APk, MPk or EPk (average, max, earliest pooling), or n (fully connected)"


class GrammarError(ValueError):
    """A net's string that cannot be read or built; the message shows the place with carets."""

    def __init__(self, spec: str, start: int, end: int, message: str) -> None:
        super().__init__(f"{message}\n    {spec}\n    {' ' * start}{'^' * max(1, end - start)}")
        self.spec, self.start, self.end = spec, start, end

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it was made of (an error crosses from a worker process)."""
        return GrammarError, (self.spec, self.start, self.end, str(self.args[0]).split("\n")[0])


@dataclass(frozen=True)
class Token:
    """One layer of a net's string, at characters `start` to `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class Conv(Token):
    """nCk: n channels, a k x k kernel, stride 1, padding k // 2, so that an odd k keeps the map's size."""

    channels: int
    kernel: int

    def __str__(self) -> str:
        return f"{self.channels}C{self.kernel}"


@dataclass(frozen=True)
class Pool(Token):
    """APk, MPk, EPk: k x k pooling with stride k; kind "avg", "max" or "earliest"."""

    kind: str
    factor: int

    def __str__(self) -> str:
        return f"{next(name for name, kind in POOLS.items() if kind == self.kind)}{self.factor}"


@dataclass(frozen=True)
class Linear(Token):
    """n: fully connected, n outputs; at the very start of a net without convolutions, the size of its input."""

    width: int

    def __str__(self) -> str:
        return f"{self.width}"


def parse(spec: str) -> list[Token]:
    """The tokens of a net's string, checked for their order.

    Tokens are joined by "-": nCk, APk, MPk, EPk, n. Convolutions and pools come first, a pool behind a convolution;
    then the fully connected layers, of which the last one is the number of classes. A net without convolutions starts
    with the size of its input. Raises TypeError where spec is no string, GrammarError (a ValueError) pointing at the
    token otherwise.
    """
    if not isinstance(spec, str):
        raise TypeError(f"spec must be a string such as '784-400-400-10', got {type(spec).__name__}")
    tokens, start = [], 0
    for text in spec.split("-"):
        tokens.append(_token(spec, text, start))
        start += len(text) + 1
    _check_order(spec, tokens)
    return tokens


def fail(spec: str, token: Token, message: str) -> GrammarError:
    """The error that points at a token."""
    return GrammarError(spec, token.start, token.end, message)


def _token(spec: str, text: str, start: int) -> Token:
    end = start + len(text)
    if not text:
        raise GrammarError(spec, start, end, f"there is nothing between two '-' or at an end; {_EXPECTED}")
    match = _TOKEN.fullmatch(text)
    if match is None or (match["pool"] and match["pool"] not in POOLS):
        raise GrammarError(spec, start, end, f"cannot read {text!r}; {_EXPECTED}")
    numbers = [int(number) for name in ("channels", "kernel", "factor", "width") if (number := match[name]) is not None]
    if 0 in numbers:
        raise GrammarError(spec, start, end, f"the numbers in {text!r} must be at least 1")
    if match["channels"]:
        if numbers[1] % 2 == 0:
            raise GrammarError(spec, start, end, f"the kernel of {text!r} must be odd, as its padding is k // 2")
        return Conv(start, end, *numbers)
    return Pool(start, end, POOLS[match["pool"]], *numbers) if match["pool"] else Linear(start, end, *numbers)


def _check_order(spec: str, tokens: list[Token]) -> None:
    for before, token in zip([None, *tokens], tokens, strict=False):
        if isinstance(before, Linear) and not isinstance(token, Linear):
            raise fail(spec, token, "convolutions and pools must come before the fully connected layers")
        if isinstance(token, Pool) and not isinstance(before, Conv):
            raise fail(spec, token, "a pool must come right behind a convolution")
    last = tokens[-1]
    if not isinstance(last, Linear):
        raise fail(spec, last, "the last layer must be fully connected: the number of classes")
    if len(tokens) == 1:
        raise fail(spec, last, "a net needs the size of its input, or a convolution, before the number of classes")
