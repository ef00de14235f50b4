"""From tokens to layer sizes: what the spiking net and its ReLU counterpart have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .._base import checks
from .._base.geometry import shortcut_is_aligned
from .grammar import POOLS, Conv, Linear, Pool, Residual, Token, check_order, fail, parse


@dataclass(frozen=True)
class SizedLayer:
    """A layer with its sizes: channels of a convolution or a pool, features of a fully connected layer."""

    token: Token
    inputs: int
    outputs: int
    body: tuple[SizedLayer, ...] = ()  # of a residual block
    positions: int = 1  # of the output's map: rows times columns
    window: tuple[int, int] = (1, 1)  # of an average pool of one direction before it, on a map of this shape
    shape: tuple[int, ...] = ()

    def on_map(self) -> SizedLayer:
        """The layer on the map before the pool, with the pool in its weights (`nn.average_before`)."""
        if not isinstance(self.token, Conv):
            return replace(self, inputs=self.inputs * math.prod(self.window))
        sizes = (self.token.kernel, self.token.stride, self.token.padding)
        kernel, stride, padding = ((a * self.window[0], b * self.window[1]) for a, b in sizes)
        return replace(self, token=replace(self.token, kernel=kernel, stride=stride, padding=padding))


def layer_sizes(spec: str, input_shape: tuple[int, ...], pooling: str | None = None) -> list[SizedLayer]:
    """The sized layers of a net's string on inputs of `input_shape`; `pooling` replaces the kind of every pool.

    Raises GrammarError that points at the token where a size, or the kind of a pool, does not fit.
    """
    tokens = parse(spec)
    checks.one_of("pooling", pooling, (None, *POOLS.values()))
    if pooling is not None:
        tokens = [replace(token, kind=pooling) if isinstance(token, Pool) else token for token in tokens]
        check_order(spec, tokens)
    if isinstance(tokens[0], Linear):
        first, tokens = tokens[0], tokens[1:]
        if first.width != math.prod(input_shape):
            raise fail(spec, first, f"the net takes {first.width} inputs, but input_shape is {input_shape}")
    elif len(input_shape) != 3:
        raise fail(spec, tokens[0], f"a convolution needs input_shape (channels, height, width), got {input_shape}")
    sized, size = [], input_shape
    source, pool = size, (1, 1)  # the map that the next layer takes, and the window of an average pool between
    for token in tokens:
        layer, size = _sized(spec, token, size)
        if pool[0] != pool[1]:
            if isinstance(token, Residual):
                raise fail(spec, token, "a block cannot stand after an average pool of one direction")
            layer = replace(layer, window=pool, shape=source)
        if isinstance(token, Residual) and isinstance(token.body[0], Conv):
            _check_shortcut(spec, token, source, pool, size)
        sized.append(layer)
        if isinstance(token, Pool) and token.kind == "avg":
            pool = token.kernel
        else:
            source, pool = size, (1, 1)
    return sized


def macs_of_spec(spec: str, input_shape: tuple[int, ...], population: int | None = None) -> int:
    """The multiply-accumulates per image of a forward pass through the ReLU counterpart of the net of a string.

    population : output neurons per class, one by default.

    Parameters
    ----------
    spec : the net's string, as in `build`.
    input_shape : (C, H, W) or (N,).
    population : output neurons per class; by default one.

    Examples
    --------
    >>> models.macs_of_spec("784-400-10", (1, 28, 28))
    317600
    """
    sized = layer_sizes(spec, input_shape)
    return sum(map(_macs, sized)) + ((population or 1) - 1) * _macs(sized[-1])


def _macs(item: SizedLayer) -> int:
    if isinstance(item.token, (Pool, Residual)):
        return sum(map(_macs, item.body))
    taps = math.prod(item.token.kernel) if isinstance(item.token, Conv) else 1
    return item.inputs * item.outputs * taps * item.positions


def _sized(spec: str, token: Token, before: tuple[int, ...]) -> tuple[SizedLayer, tuple[int, ...]]:
    """A layer after neurons of the shape `before`, and the shape of its output."""
    if isinstance(token, Conv):
        rows, columns = (-(-size // stride) for size, stride in zip(before[1:], token.stride, strict=True))
        return SizedLayer(token, before[0], token.channels, positions=rows * columns), (token.channels, rows, columns)
    if isinstance(token, Pool):
        size = (before[0], *(side // k for side, k in zip(before[1:], token.kernel, strict=True)))
        if 0 in size:
            raise fail(spec, token, f"the pool is larger than its map of {before[1]} x {before[2]}")
        if token.kind == "avg" and not token.square and any(n % k for n, k in zip(before[1:], token.kernel, strict=True)):
            raise fail(spec, token, f"an average pool of {token.kernel} must divide its map of {before[1]} x {before[2]}")
        return SizedLayer(token, before[0], before[0]), size
    if isinstance(token, Linear):
        if math.prod(before) >= 2**31:
            raise fail(spec, token, f"the map before it has {math.prod(before)} neurons, a layer takes fewer than 2^31")
        return SizedLayer(token, math.prod(before), token.width), (token.width,)
    assert isinstance(token, Residual)
    shape, body = before, []
    for part in token.body:
        layer, shape = _sized(spec, part, shape)
        body.append(layer)
    if before[0] > shape[0] or len(before) != len(shape):
        raise fail(spec, token, f"the block's input, {before}, must have at most the channels of its output, {shape}")
    return SizedLayer(token, before[0], shape[0], tuple(body)), shape


def _check_shortcut(spec: str, token: Residual, source: tuple[int, ...], pool: tuple[int, int], out: tuple[int, ...]) -> None:
    """Refuse a block whose shortcut would not lie under its output."""
    kernels = [part for part in token.body if isinstance(part, Conv)]
    rows, columns = (pool[axis] * math.prod([part.stride[axis] for part in kernels]) for axis in (0, 1))
    if not shortcut_is_aligned(source[1:], out[1:], (rows, columns)):
        where = f"one row in {rows} and one column in {columns} of the map before it, {source[1:]}"
        raise fail(spec, token, f"{where}, must make its output, {out[1:]}")


def check_input_shape(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """(N,) or (C, H, W) as a tuple of positive ints."""
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
    if len(shape) not in (1, 3) or not all(hasattr(size, "__index__") for size in shape):
        raise ValueError(f"input_shape must be (features,) or (channels, height, width), got {input_shape!r}")
    return tuple(checks.size("input_shape", size) for size in shape)
