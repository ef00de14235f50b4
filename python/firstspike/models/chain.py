"""A chain of layers as a `TTFSNet`."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from torch import nn

from .. import nn as fs
from .._base.modules import uncompiled
from .net import Readout, TTFSNet, flat_size


def as_net(chain: nn.Module, input_shape: tuple[int, ...] | None = None, *, name: str = "net") -> TTFSNet:
    """Return the `TTFSNet` of a `torch.nn.Sequential` of our layers, with the chain's own modules; a net as it is.

    Ties of a `FirstSpike` stay with the lower class, as in the chain; a TTFSNet with its own FirstSpike breaks them by the
    overshoot. Without a Flatten, a fully connected layer adds in another order, and its currents are equal up to rounding.

    Parameters
    ----------
    chain : Sequential
        Encoder (`LatencyEncoder`, `SpikeInput`, other modules that take the samples, or none), layers, readout
        (`MembraneReadout`, `TemporalWeighting` or `FirstSpike`); or `WindowedEncoder`, layers of windows and `WindowedReadout`.
        A `Normalize` that comes first becomes the net's. Sequentials within it, Identity and Flatten are taken out.
    input_shape, name : tuple of int, str
        The shape of one sample, by default (N,) where the first layer is fully connected; the name in errors.

    Examples
    --------
    >>> layers = [nn.DirectConv2d(1, 4, 3, padding=1, steps=8), nn.Integrate(256, 10, steps=8), nn.MembraneReadout()]
    >>> models.as_net(torch.nn.Sequential(*layers), input_shape=(1, 8, 8)).input_shape
    (1, 8, 8)
    """
    chain = uncompiled(chain)
    if isinstance(chain, TTFSNet):
        return chain
    if not _is_sequential(chain):
        raise TypeError(f"{name} must be a TTFSNet or a Sequential of our layers, got {type(chain).__name__}")
    *parts, readout = [*in_order(chain)] or [nn.Identity()]
    if not isinstance(readout, Readout):
        last = type(readout).__name__
        raise ValueError(f"{name} must end in a readout, such as nn.MembraneReadout() or nn.WindowedReadout(), got {last}")
    start = next((number for number, part in enumerate(parts) if _is_ours(part)), len(parts))
    front = [part for part in parts[:start] if type(part) is not nn.Identity]
    parts = [part for part in parts[start:] if not _is_passed_over(part)]
    normalize = front.pop(0) if front and isinstance(front[0], fs.Normalize) else None
    front = [] if all(map(_is_passed_over, front)) else front
    if parts and hasattr(parts[0], "unit_range"):
        front.append(parts.pop(0))
    elif readout.timing == "windowed":
        raise ValueError(f"{name} must begin with nn.WindowedEncoder(), as it ends in an nn.WindowedReadout")
    first = [*parts, readout][0]
    encoder: str | nn.Module = "direct" if isinstance(first, fs.DirectConv2d | fs.DirectLinear) else "spikes"
    if front:
        encoder = front[0] if len(front) == 1 else nn.Sequential(*front)
    if isinstance(readout, fs.FirstSpike):
        readout = copy.copy(readout)
        readout.overshoot = False
    shape = sample_shape(first, name) if input_shape is None else input_shape
    return TTFSNet(parts, encoder=encoder, readout=readout, input_shape=shape, normalize=normalize)  # type: ignore[arg-type]


def sample_shape(first: nn.Module | None, name: str = "net") -> tuple[int, ...]:
    """Return the shape of a sample, by the first layer, if it is fully connected and pools nothing; else raise ValueError."""
    if (inputs := flat_size(first)) is None:
        raise ValueError(f"input_shape must be given, as in models.as_net: {name} does not tell the shape of a sample")
    return (inputs,)


def _is_sequential(module: nn.Module | None) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def in_order(chain: nn.Module) -> Iterator[nn.Module]:
    """The modules in order, with the parts of Sequentials instead of them."""
    for part in chain._modules.values():  # `children` leaves out a layer that occurs twice
        assert part is not None
        if _is_sequential(part):
            yield from in_order(part)
        else:
            yield part


def _is_ours(part: nn.Module) -> bool:
    return hasattr(part, "steps") or isinstance(part, (fs.EarliestPool2d, fs.MaxPool2d))


def _is_passed_over(part: nn.Module) -> bool:
    """True for what a TTFSNet does by itself: nothing, or to flatten the input of a fully connected layer."""
    flat = type(part) is nn.Flatten and (part.start_dim, part.end_dim) == (1, -1)
    return flat or type(part) is nn.Identity
