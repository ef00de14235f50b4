"""From tokens to layer sizes: what the spiking net and its ReLU counterpart have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .. import _checks
from .grammar import POOLS, Conv, Linear, Pool, Residual, Token, fail, parse


@dataclass(frozen=True)
class SizedLayer:
    """A layer with its sizes: channels of a convolution or a pool, features of a fully connected layer."""

    token: Token
    inputs: int
    outputs: int
    body: tuple[SizedLayer, ...] = ()  # of a residual block
    positions: int = 1  # of the output's map: rows times columns


def layer_sizes(spec: str, input_shape: tuple[int, ...], pooling: str | None = None) -> list[SizedLayer]:
    """The sized layers of a net's string on inputs of `input_shape`; `pooling` replaces the kind of every pool.

    Raises GrammarError that points at the token where a size does not fit.
    """
    tokens = parse(spec)
    _checks.one_of("pooling", pooling, (None, *POOLS.values()))
    if pooling is not None:
        tokens = [replace(token, kind=pooling) if isinstance(token, Pool) else token for token in tokens]
    if isinstance(tokens[0], Linear):
        first, tokens = tokens[0], tokens[1:]
        if first.width != math.prod(input_shape):
            raise fail(spec, first, f"the net takes {first.width} inputs, but input_shape is {input_shape}")
    elif len(input_shape) != 3:
        raise fail(spec, tokens[0], f"a convolution needs input_shape (channels, height, width), got {input_shape}")
    sized, size = [], input_shape
    pooled: tuple[Pool, tuple[int, ...]] | None = None  # an average pool just before, and the map that it takes
    for token in tokens:
        if isinstance(token, Residual) and pooled is not None and isinstance(token.body[0], Conv):
            factor, (rows, columns) = pooled[0].factor, pooled[1][1:]
            if rows % factor or columns % factor:
                raise fail(spec, token, f"the block's shortcut takes one row and column in {factor} of the map before "
                           f"the pool, whose {rows} x {columns} must be multiples of {factor}")  # fmt: skip
        pooled = (token, size) if isinstance(token, Pool) and token.kind == "avg" else None
        layer, size = _sized(spec, token, size)
        sized.append(layer)
    return sized


def _sized(spec: str, token: Token, before: tuple[int, ...]) -> tuple[SizedLayer, tuple[int, ...]]:
    """A layer behind neurons of the shape `before`, and the shape of its own."""
    if isinstance(token, Conv):
        rows, columns = (-(-size // stride) for size, stride in zip(before[1:], token.stride, strict=True))
        return SizedLayer(token, before[0], token.channels, positions=rows * columns), (token.channels, rows, columns)
    if isinstance(token, Pool):
        size = (before[0], before[1] // token.factor, before[2] // token.factor)
        if 0 in size:
            raise fail(spec, token, f"the pool is larger than its map of {before[1]} x {before[2]}")
        return SizedLayer(token, before[0], before[0]), size
    if isinstance(token, Linear):
        return SizedLayer(token, math.prod(before), token.width), (token.width,)
    assert isinstance(token, Residual)
    shape, body = before, []
    for part in token.body:
        layer, shape = _sized(spec, part, shape)
        body.append(layer)
    if before[0] > shape[0] or len(before) != len(shape):
        raise fail(
            spec, token, f"the block's input of shape {before} must have at most the channels of its output, {shape}"
        )
    return SizedLayer(token, before[0], shape[0], tuple(body)), shape


def check_input_shape(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """(N,) or (C, H, W) as a tuple of positive ints."""
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
    if len(shape) not in (1, 3):
        raise ValueError(f"input_shape must be (features,) or (channels, height, width), got {input_shape!r}")
    return tuple(_checks.size("input_shape", size) for size in shape)
