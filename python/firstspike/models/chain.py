"""A chain of layers as a `TTFSNet`."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

from torch import nn

from .. import nn as fs
from .._base.checks import is_known
from .._base.modules import has_own_forward, uncompiled, warn_of_hooks
from .coding import Readout
from .net import TTFSNet
from .sizes import check_input_shape

_LEAVES_OUT = "a TTFSNet of its layers"


def as_net(chain: nn.Module, input_shape: tuple[int, ...] | None = None, *, name: str = "net") -> TTFSNet:
    """The `TTFSNet` of a `torch.nn.Sequential` of our layers, with the chain's own modules; a TTFSNet as it is.

    chain: encoder (`LatencyEncoder`, `SpikeInput`, or none), layers, readout (`MembraneReadout`, `TemporalWeighting` or
    `FirstSpike`); Sequentials within it, Identity, and Flatten before a fully connected layer are taken out. Modules of torch's
    before the first layer of ours, such as a Conv2d before a `DirectConv2d`, get the images; a module of your own in that
    place is assumed to take spikes.
    Without the Flatten that layer adds in another order, so that its currents are equal to rounding, not to the bit.
    Ties of a `FirstSpike` stay with the lower class, as the chain has them; a TTFSNet of its layers and a FirstSpike of its own
    breaks them by the overshoot.
    input_shape: of one sample; by default (N,) where the first layer is fully connected. name: what errors call it.

    Warns of forward hooks of what is taken out. Raises TypeError or ValueError naming what does not fit.

    Examples:
        >>> layers = [nn.DirectConv2d(1, 4, 3, padding=1, steps=8), nn.Integrate(256, 10, steps=8), nn.MembraneReadout()]
        >>> models.as_net(torch.nn.Sequential(*layers), input_shape=(1, 8, 8)).input_shape
        (1, 8, 8)
    """
    return net_of(chain, input_shape, name)


def net_of(
    chain: nn.Module, input_shape: tuple[int, ...] | None = None, name: str = "net", *, spikes: bool | None = None
) -> TTFSNet:
    """As `as_net`. spikes: whether a chain that begins with a module of one's own takes SpikeTimes; None if unknown."""
    chain = uncompiled(chain)
    if isinstance(chain, TTFSNet):
        return chain
    if not isinstance(chain, nn.Sequential):
        raise TypeError(
            f"{name} must be a TTFSNet, or a Sequential of our layers, got {type(chain).__name__}; "
            "torch.nn.Sequential(*layers) of its layers in their order shares their weights"
        )
    parts = _parts(chain, name)
    if len(parts) < 2 or not isinstance(parts[-1], Readout):
        last = type(parts[-1]).__name__ if parts else "nothing"
        raise ValueError(f"{name} must end in a readout, such as nn.MembraneReadout(), got {last}")
    readout: Readout = parts.pop()  # type: ignore[assignment]
    encoder: str | nn.Module = "direct" if _takes_images(parts[0], spikes) else "spikes"
    if isinstance(parts[0], (fs.LatencyEncoder, fs.SpikeInput)):
        encoder = parts.pop(0)
    if input_shape is None:
        input_shape = sample_shape(parts[0] if parts else None, name)
    else:
        input_shape = check_input_shape(input_shape)
        if parts:
            _check_first(parts[0], input_shape)
    if isinstance(readout, fs.FirstSpike):
        readout = copy.copy(readout)
        readout.overshoot = False
    return TTFSNet(parts, encoder=encoder, readout=readout, input_shape=input_shape)


def sample_shape(first: nn.Module | None, name: str = "net") -> tuple[int, ...]:
    """The shape of one sample, by the first layer, where it is fully connected and pools nothing; else ValueError."""
    features = _features(first)
    if features is not None:
        return (features,)
    raise ValueError(
        f"{name} does not tell the shape of a sample; models.as_net({name}, input_shape=(1, 28, 28)) gives it"
    )


def _features(layer: nn.Module | None) -> int | None:
    """The number of inputs of a fully connected layer of ours without pooling; None for other layers."""
    if isinstance(layer, (fs.DirectLinear, fs.TTFSLinear, fs.Integrate)) and getattr(layer, "avg_pool", 1) == 1:
        return layer.weight.shape[1]
    return None


def _check_first(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """Raise ValueError where a layer of ours does not take samples of that shape."""
    wanted, got, what = _features(layer), math.prod(shape), "features"
    if isinstance(layer, (fs.DirectConv2d, fs.TTFSConv2d)) and len(shape) == 3:
        wanted, got, what = layer.in_channels, shape[0], "channels"
    if wanted not in (None, got):
        raise ValueError(f"input_shape must fit the first layer, which takes {wanted} {what}, got {shape}")


def _takes_images(first: nn.Module, spikes: bool | None) -> bool:
    if _is_ours(first):
        return isinstance(first, (fs.DirectConv2d, fs.DirectLinear))
    return is_known(type(first).__module__) if spikes is None else not spikes


def _is_ours(part: nn.Module) -> bool:
    return hasattr(part, "steps") or isinstance(part, (fs.EarliestPool2d, fs.MaxPool2d, *Readout.__args__))


def _parts(chain: nn.Sequential, name: str) -> list[nn.Module]:
    """The modules in order, without what a TTFSNet does by itself; TypeError for a Sequential that does something else.

    Modules of others in front of the first of ours may need what is between them, a Flatten before a Linear.
    """
    every = list(_flat(chain, name))
    own = next((index for index, (_, part) in enumerate(every) if _is_ours(part)), len(every))
    kept = 0 if all(_passed_over(part) for _, part in every[:own]) else own
    parts = [part for _, part in every[:kept]]
    for place, part in every[kept:]:
        if _passed_over(part):
            warn_of_hooks(part, place, _LEAVES_OUT)
        else:
            parts.append(part)
    return parts


def _flat(chain: nn.Sequential, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules in order with their names, those of Sequentials in place of them."""
    if has_own_forward(chain):
        raise TypeError(
            f"{name} must call its layers one after another, but {type(chain).__name__} has a forward of its own"
        )
    warn_of_hooks(chain, name, _LEAVES_OUT)
    for key, part in chain._modules.items():  # named_children leaves out a layer that stands there twice
        if isinstance(part, nn.Sequential):
            yield from _flat(part, f"{name}.{key}")
        else:
            yield f"{name}.{key}", part


def _passed_over(part: nn.Module) -> bool:
    """Whether it does what a TTFSNet does by itself: nothing, or what a fully connected layer does to its input."""
    flat = isinstance(part, nn.Flatten) and (part.start_dim, part.end_dim) == (1, -1)
    return (flat or isinstance(part, nn.Identity)) and not has_own_forward(part)
