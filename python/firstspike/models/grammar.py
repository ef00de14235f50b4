"""The string grammar of nets: "784-400-400-10", "32C3-AP2-64C3-AP2-256-10"."""

from __future__ import annotations

import re
from dataclasses import dataclass

POOLS = {"AP": "avg", "MP": "max", "EP": "earliest", "SP": "single"}
_N = r"0|[1-9][0-9]{0,8}"  # no leading zeros, so that a net has one string
_TOKEN = re.compile(
    rf"(?P<channels>{_N})C(?P<kernel>{_N})(x(?P<columns>{_N}))?(s(?P<stride>{_N})(x(?P<across>{_N}))?)?"
    rf"|(?P<pool>[A-Z]+P)(?P<high>{_N})(x(?P<wide>{_N}))?|(?P<width>{_N})"
)
_EXPECTED = (
    "expected nCk (convolution; nCkxm, nCks2), APk, MPk, EPk or SPk (average, max, earliest pooling, averages of a single "
    "spike; APkxm), n (fully connected) "
    "or R(...) (residual block)"
)


class GrammarError(ValueError):
    """A net's string that cannot be read or built; the message shows the place with carets.

    Examples
    --------
    >>> parse("8C3-XP2")
    Traceback (most recent call last):
        ...
    firstspike.models.grammar.GrammarError: ...
    """

    def __init__(self, spec: str, start: int, end: int, message: str) -> None:
        super().__init__(spec, start, end, message)
        self.spec, self.start, self.end = spec, start, end

    def __str__(self) -> str:
        return f"{self.args[3]}\n    {self.spec}\n    {' ' * self.start}{'^' * max(1, self.end - self.start)}"


@dataclass(frozen=True)
class Token:
    """One layer of a net's string, at characters `start` to `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class Conv(Token):
    """nCk: n channels, a k x k kernel, stride 1, padding k // 2, so that an odd k keeps the map's size.

    nCkxm has k rows and m columns; s2 after it is a stride of 2, s2x1 one of 2 rows and 1 column.
    """

    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def __str__(self) -> str:
        kernel, stride = _pair(self.kernel), _pair(self.stride)
        return f"{self.channels}C{kernel}" + (f"s{stride}" if self.stride != (1, 1) else "")


@dataclass(frozen=True)
class Pool(Token):
    """APk, MPk, EPk, SPk: pooling of k x k units without overlap, APkxm of k x m; kind as in `POOLS`."""

    kind: str
    kernel: tuple[int, int]

    @property
    def square(self) -> bool:
        """True if it pools k x k units."""
        return self.kernel[0] == self.kernel[1]

    def __str__(self) -> str:
        return f"{next(name for name, kind in POOLS.items() if kind == self.kind)}{_pair(self.kernel)}"


@dataclass(frozen=True)
class Linear(Token):
    """n: fully connected, n outputs; at the very start of a net without convolutions, the size of its input."""

    width: int

    def __str__(self) -> str:
        return f"{self.width}"


@dataclass(frozen=True)
class Residual(Token):
    """R(...): convolutions or fully connected layers, the last of which gets the block's own input too."""

    body: tuple[Conv | Linear, ...]

    def __str__(self) -> str:
        return f"R({'-'.join(map(str, self.body))})"


def parse(spec: str) -> list[Token]:
    """The tokens of a net's string, checked for their order.

    Tokens are joined by "-": nCk, APk, MPk, EPk, SPk, n, R(...); APkxm pools k rows and m columns. Convolutions and pools come
    first, a pool after a convolution or a block of them; then the fully connected layers, of which the last one is the number
    of classes. A net without convolutions starts with the size of its input. A block R(...) stands after a layer that fires, and
    holds convolutions or fully connected layers. A GrammarError points at the token that does not fit.

    Parameters
    ----------
    spec : the net's string, as in `build`.

    Examples
    --------
    >>> [str(token) for token in parse("8C3-AP2-10")]
    ['8C3', 'AP2', '10']
    """
    if not isinstance(spec, str):
        raise TypeError(f"spec must be a string such as '784-400-400-10', got {type(spec).__name__}")
    tokens = [_token(spec, start, end) for start, end in _parts(spec, 0, len(spec))]
    check_order(spec, tokens)
    return tokens


def fail(spec: str, token: Token, message: str) -> GrammarError:
    """The error that points at a token."""
    return GrammarError(spec, token.start, token.end, message)


def _parts(spec: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where the parts between '-' lie that no parentheses enclose."""
    parts, depth, begin = [], 0, start
    for place in range(start, end):
        depth += {"(": 1, ")": -1}.get(spec[place], 0)
        if depth < 0 or depth > 1:
            raise GrammarError(spec, place, place + 1, "parentheses must enclose one block, as in R(64C3-64C3)")
        if spec[place] == "-" and depth == 0:
            parts.append((begin, place))
            begin = place + 1
    if depth:
        raise GrammarError(spec, end, end, "a ')' is missing at the end of a block")
    return [*parts, (begin, end)]


def _token(spec: str, start: int, end: int) -> Token:
    text = spec[start:end]
    if not text:
        raise GrammarError(spec, start, end, f"there is nothing between two '-' or at an end; {_EXPECTED}")
    if text.startswith("R(") and text.endswith(")"):
        return _block(spec, start, end)
    match = _TOKEN.fullmatch(text)
    if match is None or (match["pool"] and match["pool"] not in POOLS):
        raise GrammarError(spec, start, end, f"cannot read {text!r}; {_EXPECTED}")
    number = {name: int(value) for name, value in match.groupdict().items() if value is not None and name != "pool"}
    if 0 in number.values():
        raise GrammarError(spec, start, end, f"the numbers in {text!r} must be at least 1")
    if match["width"]:
        return Linear(start, end, number["width"])
    token: Pool | Conv
    if match["pool"]:
        token = Pool(start, end, POOLS[match["pool"]], (number["high"], number.get("wide", number["high"])))
    else:
        kernel = number["kernel"], number.get("columns", number["kernel"])
        stride = number.get("stride", 1), number.get("across", number.get("stride", 1))
        if kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
            raise GrammarError(spec, start, end, f"the kernel of {text!r} must be odd, as its padding is k // 2")
        token = Conv(start, end, number["channels"], kernel, stride, (kernel[0] // 2, kernel[1] // 2))
    if str(token) != text:
        raise GrammarError(spec, start, end, f"{text!r} must be written {str(token)!r}, so that a net has one string")
    return token


def _block(spec: str, start: int, end: int) -> Residual:
    body = [_token(spec, *part) for part in _parts(spec, start + 2, end - 1)]
    kinds = {type(token) for token in body}
    if kinds not in ({Conv}, {Linear}):
        raise GrammarError(spec, start, end, "a block must hold either convolutions or fully connected layers")
    return Residual(start, end, tuple(token for token in body if isinstance(token, (Conv, Linear))))


def is_dense(token: Token | None) -> bool:
    """True if a token is fully connected, or a block of such tokens."""
    return isinstance(token, Linear) or (isinstance(token, Residual) and isinstance(token.body[0], Linear))


def _pair(sizes: tuple[int, int]) -> str:
    return f"{sizes[0]}" if sizes[0] == sizes[1] else f"{sizes[0]}x{sizes[1]}"


def check_order(spec: str, tokens: list[Token]) -> None:
    """Raise GrammarError that points at a token which cannot stand where it does in a spiking net."""
    for number, (before, token) in enumerate(zip([None, *tokens], tokens, strict=False)):
        if is_dense(before) and not is_dense(token):
            raise fail(spec, token, "convolutions and pools must come before the fully connected layers")
        if isinstance(token, Pool) and (before is None or isinstance(before, Pool)):
            raise fail(spec, token, "a pool must come right after a convolution")
        if isinstance(token, Residual) and (before is None or (number == 1 and isinstance(before, Linear))):
            raise fail(spec, token, "a block must stand after a layer that fires")
    last = tokens[-1]
    if not isinstance(last, Linear):
        raise fail(spec, last, "the last layer must be fully connected: the number of classes")
    if len(tokens) == 1:
        raise fail(spec, last, "a net needs the size of its input, or a convolution, before the number of classes")
