"""A block of layers whose own input is added to the current of its last layer, and walks over nets that hold such blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from .._base import checks
from .._base.geometry import shortcut_is_aligned
from ..spikes import SpikeTimes
from .firing import FiringLayer
from .synapse import Synapse
from .ttfs import TTFSConv2d, TTFSLinear


class Residual(nn.Module):
    """Layers one after another, the last of which gets the block's input too: X[t] = its own current + scale s[t].

    It is one layer with two inputs: a neuron still fires at most once, and a spike of the input may fire its neuron at once.
    If the block has a stride or pools its input, every n-th row and column of the unpooled input counts. If the last layer has
    more channels than the input, the others get no shortcut.

    Parameters
    ----------
    layers : `TTFSConv2d` or `TTFSLinear`, of the same steps.
    scale : the current of one spike of the input, a number or float32 [M], one per channel of the input. With 1, the neurons'
        default threshold, a spike fires its neuron alone and an untrained block passes its input on; deep stacks need that.
        An `nn.Parameter` [1] or [M] is learned.
    learn_scale : makes a scale that is not one a parameter.

    Examples
    --------
    >>> convolution = lambda: nn.TTFSConv2d(4, 4, 3, padding=1, steps=8)
    >>> block = nn.Residual([convolution(), convolution()], scale=0.25)
    >>> block(encode.latency(torch.rand(2, 4, 6, 6), steps=8)).shape
    torch.Size([2, 4, 6, 6])
    """

    scale: Tensor

    def __init__(self, layers: Iterable[nn.Module], *, scale: float | Tensor = 1.0, learn_scale: bool = False) -> None:
        super().__init__()
        kinds = (TTFSConv2d, TTFSLinear)
        self.layers = nn.ModuleList(checks.in_order("layers", layers, kinds, "TTFSConv2d or TTFSLinear"))
        steps: set[Any] = {layer.steps for layer in self.layers}
        if len(steps) != 1:
            raise ValueError(f"layers must be at least one, all of the same steps, got {sorted(steps)}")
        self.steps: int = steps.pop()
        if not isinstance(scale, nn.Parameter) and (not isinstance(scale, Tensor) or scale.dim() == 0):
            scale = torch.tensor([checks.real("scale", scale)], dtype=torch.float32)
        outputs: int = self.layers[-1].weight.shape[0]  # type: ignore[assignment,index]
        values = checks.float32("scale", scale, 1)
        if not 1 <= len(values) <= outputs:
            raise ValueError(f"scale must have 1 to {outputs} numbers, at most one per output, got {len(values)}")
        checks.finite("scale", values)
        if isinstance(values, nn.Parameter):
            self.scale = values
        elif values.requires_grad:
            raise TypeError("scale must be a number, an nn.Parameter [M], or a tensor that requires no gradient")
        elif checks.boolean("learn_scale", learn_scale):
            self.scale = nn.Parameter(values.detach().clone())
        else:
            self.register_buffer("scale", values.detach().clone())

    def forward(self, spikes: SpikeTimes, fired: list[SpikeTimes] | None = None) -> SpikeTimes:
        """Return the last layer's spike times of `spikes`, which the first layer takes and which fit the last one's output.

        fired: if given, gets the spike times of each layer.
        """
        checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes (a block cannot stand after max pooling)")
        signal = spikes
        for layer in list(self.layers)[:-1]:
            signal = layer(signal)
            if fired is not None:
                fired.append(signal)
        output: SpikeTimes = self.layers[-1](signal, spikes, shortcut_scale=self.scale)
        if len(output.shape) == 4:
            self.check_places(spikes.shape[2:], output.shape[2:])
        if fired is not None:
            fired.append(output)
        return output

    @property
    def strides(self) -> tuple[int, int]:
        """The rows and columns of the block's input for one of its output: pools times strides."""
        convolutions = [layer for layer in self.layers if isinstance(layer, TTFSConv2d)]
        down, across = ([layer.avg_pool * layer.stride[axis] for layer in convolutions] for axis in (0, 1))
        return math.prod(down), math.prod(across)

    def check_places(self, size: tuple[int, ...], out: tuple[int, ...]) -> None:
        """Raise ValueError for an input of this height and width whose shortcut is not aligned with the block's output."""
        if not shortcut_is_aligned(size, out, self.strides):
            raise ValueError(
                f"spikes must be maps of which one row in {self.strides[0]} and one column in {self.strides[1]} make the "
                f"block's output, {tuple(out)}, got {tuple(size)}; give its convolutions the padding that keeps the size"
            )

    def fold(self) -> Self:
        """Fold all layers, in place; the scale is then in units of the last layer's thresholds per neuron."""
        fold_layers(self)
        return self

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments with which the block can be built again, except its layers and the values of `scale`.

        channels: how many numbers `scale` has.
        """
        return {"learn_scale": isinstance(self.scale, nn.Parameter), "channels": len(self.scale)}

    def extra_repr(self) -> str:
        """Return the settings, for print."""
        if self.scale.is_meta:
            return ""
        return f"scale={float(self.scale.detach()):g}" if len(self.scale) == 1 else f"scale=[{len(self.scale)}]"


class Part(NamedTuple):
    """A layer of a net, as `parts` gives it.

    Attributes
    ----------
    place : its number in the net, and in a block its number there.
    begins : whether it is a residual block's first layer.
    block : the residual block whose last layer it is.
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


@torch.no_grad()
def fold_layers(module: nn.Module) -> None:
    """Fold all layers within a module, in place; a block's scale with the thresholds of its last layer."""
    # Scales of all blocks first: two blocks may share their last layer, which is folded once.
    scales: dict[Residual, Any] = {}
    for block in module.modules():
        if isinstance(block, Residual):
            last = block.layers[-1]
            assert isinstance(last, FiringLayer)
            scales[block] = last.effective_shortcut_scale(block.scale)
    for part in module.modules():
        if isinstance(part, Synapse):
            part.fold()
    for block, scale in scales.items():
        learned = isinstance(block.scale, nn.Parameter)
        block.scale = nn.Parameter(scale, requires_grad=block.scale.requires_grad) if learned else scale
