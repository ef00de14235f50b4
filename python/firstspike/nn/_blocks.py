"""Nets with residual blocks: their layers one by one, and folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import nn

from .residual import Residual
from .synapse import Synapse


class Part(NamedTuple):
    """A layer of a net.

    place: its number in the net, and in a block its number there. begins: whether it is a residual block's first layer.
    block: the residual block whose last layer it is.
    """

    place: tuple[int, ...]
    layer: nn.Module
    begins: bool = False
    block: Residual | None = None


def parts(layers: Iterable[nn.Module]) -> Iterator[Part]:
    """Layers in order, those of residual blocks one by one."""
    for n, layer in enumerate(layers):
        if isinstance(layer, Residual):
            last = len(layer.layers) - 1
            for i, inner in enumerate(layer.layers):
                yield Part((n, i), inner, i == 0, layer if i == last else None)
        else:
            yield Part((n,), layer)


def fold_layers(module: nn.Module) -> None:
    """Fold all layers within a module, in place; a block's scale with the thresholds of its last layer."""
    # Of all blocks first: two may share their last layer, which is folded once.
    scales = {block: block.folded_scale() for block in module.modules() if isinstance(block, Residual)}
    for part in module.modules():
        if isinstance(part, Synapse):
            part.fold()
    for block, scale in scales.items():
        block.replace_scale(scale)
