"""A chain of layers as a `TTFSNet` or `WindowedNet`."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from torch import nn

from .. import nn as fs
from .._base.modules import uncompiled
from .net import Readout, TTFSNet
from .windowed import WindowedNet


def as_net(chain: nn.Module, input_shape: tuple[int, ...] | None = None, *, name: str = "net") -> TTFSNet | WindowedNet:
    """Return the `TTFSNet` of a `torch.nn.Sequential` of our layers, with the chain's own modules; a net as it is.

    A chain that begins with a `WindowedEncoder` and ends in a `WindowedReadout` becomes a `WindowedNet`.

    Ties of a `FirstSpike` stay with the lower class, as in the chain; a TTFSNet with its own FirstSpike breaks them by the
    overshoot. Without a Flatten, a fully connected layer adds in another order, and its currents are equal up to rounding.

    Parameters
    ----------
    chain : Sequential
        Encoder (`LatencyEncoder`, `SpikeInput`, other modules that take the samples, or none), layers, readout
        (`MembraneReadout`, `TemporalWeighting` or `FirstSpike`); or `WindowedEncoder`, layers of windows and `WindowedReadout`.
        Sequentials within it, Identity and Flatten are taken out.
    input_shape, name : tuple of int, str
        The shape of one sample, by default (N,) where the first layer is fully connected; the name in errors.

    Examples
    --------
    >>> layers = [nn.DirectConv2d(1, 4, 3, padding=1, steps=8), nn.Integrate(256, 10, steps=8), nn.MembraneReadout()]
    >>> models.as_net(torch.nn.Sequential(*layers), input_shape=(1, 8, 8)).input_shape
    (1, 8, 8)
    """
    chain = uncompiled(chain)
    if isinstance(chain, TTFSNet | WindowedNet):
        return chain
    if not _is_sequential(chain):
        raise TypeError(f"{name} must be a TTFSNet, a WindowedNet or a Sequential of our layers, got {type(chain).__name__}")
    parts = list(in_order(chain))
    if parts and isinstance(parts[-1], fs.WindowedReadout):
        return _of_windows(parts, input_shape, name)
    if len(parts) < 2 or not isinstance(parts[-1], Readout):
        last = type(parts[-1]).__name__ if parts else "nothing"
        raise ValueError(f"{name} must end in a readout, such as nn.MembraneReadout() or nn.WindowedReadout(), got {last}")
    readout: Readout = parts.pop()  # type: ignore[assignment]
    first = next((number for number, part in enumerate(parts) if _is_ours(part)), len(parts))
    front, parts = parts[:first], [part for part in parts[first:] if not _is_passed_over(part)]
    encoder: str | nn.Module = "spikes"
    if not all(_is_passed_over(part) for part in front):
        encoder = nn.Sequential(*front)
    elif parts and isinstance(parts[0], (fs.LatencyEncoder, fs.SpikeInput)):
        encoder = parts.pop(0)
    elif parts and isinstance(parts[0], (fs.DirectConv2d, fs.DirectLinear)):
        encoder = "direct"
    if isinstance(readout, fs.FirstSpike):
        readout = copy.copy(readout)
        readout.overshoot = False
    shape = sample_shape(parts[0] if parts else None, name) if input_shape is None else input_shape
    return TTFSNet(parts, encoder=encoder, readout=readout, input_shape=shape)


def _of_windows(parts: list[nn.Module], input_shape: tuple[int, ...] | None, name: str) -> WindowedNet:
    *parts, readout = parts
    parts = [part for part in parts if not _is_passed_over(part)]
    first = next((number for number, part in enumerate(parts) if isinstance(part, fs.WindowedEncoder)), None)
    if first is None:
        raise ValueError(f"{name} must begin with nn.WindowedEncoder(), as it ends in an nn.WindowedReadout")
    layers = parts[first + 1 :]
    shape = sample_shape([*layers, readout][0], name) if input_shape is None else input_shape
    encoder = nn.Sequential(*parts[: first + 1]) if first else parts[0]
    return WindowedNet(layers, readout=readout, input_shape=shape, encoder=encoder)


def sample_shape(first: nn.Module | None, name: str = "net") -> tuple[int, ...]:
    """Return the shape of a sample, by the first layer, if it is fully connected and pools nothing; else raise ValueError."""
    if isinstance(first, fs.Synapses) and first.weight.dim() == 2 and first.avg_pool == 1:
        return tuple(first.weight.shape[1:])
    raise ValueError(f"input_shape must be given, as in models.as_net: {name} does not tell the shape of a sample")


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
