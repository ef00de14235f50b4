"""A block of layers whose own input is added to the current of its last layer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from .._base import checks
from .._base.geometry import shortcut_is_aligned
from ..spikes import SpikeTimes
from .firing import FiringLayer
from .ttfs import TTFSConv2d, TTFSLinear


class Residual(nn.Module):
    """Layers one after another, the last of which gets the block's input too: X[t] = its own current + scale s[t].

    It is one layer with two inputs, so a neuron still fires at most once, and a spike of the input may fire its neuron at once.
    Where the block has a stride or pools its input, every n-th row and column of the input, as it is before pooling, counts;
    where the last layer has more channels than the input, the others get no shortcut.

    layers: `TTFSConv2d` or `TTFSLinear`, of the same steps. scale: of the shortcut, the current of one spike of the input, a
    number or float32 [M], one per channel of the input. 1, the neurons' default threshold, lets it fire its neuron alone, so
    that an untrained block passes its input on; deep stacks of blocks need that (chosen on held-out images: paper/NOTES.md,
    "Scale of a residual block"). learn_scale: makes it a parameter, of one element for a number; an `nn.Parameter` [M] is
    learned as it is. Raises TypeError or ValueError naming what does not fit.

    Examples:
        >>> convolution = lambda: nn.TTFSConv2d(4, 4, 3, padding=1, steps=8)
        >>> block = nn.Residual([convolution(), convolution()], scale=0.25)
        >>> block(encode.latency(torch.rand(2, 4, 6, 6), steps=8)).shape
        torch.Size([2, 4, 6, 6])
    """

    def __init__(
        self, layers: Iterable[nn.Module], *others: nn.Module, scale: float | Tensor = 1.0, learn_scale: bool = False
    ) -> None:
        super().__init__()
        kinds = (TTFSConv2d, TTFSLinear)
        if others or isinstance(layers, kinds):
            got = "several arguments" if others else type(layers).__name__
            raise TypeError(f"layers must be one list, nn.Residual([first, second]), got {got}")
        self.layers = nn.ModuleList(checks.in_order("layers", layers, kinds, "TTFSConv2d or TTFSLinear"))
        steps: set[Any] = {layer.steps for layer in self.layers}
        if len(steps) != 1:
            raise ValueError(f"layers must be at least one, all of the same steps, got {sorted(steps)}")
        self.steps: int = steps.pop()
        if isinstance(scale, nn.Parameter) and scale.dim() != 1:
            raise ValueError(f"scale must be of shape [1] or [M] where it is a parameter, got {tuple(scale.shape)}")
        values = _as_channels(scale)
        outputs = len(self.layers[-1].weight)  # type: ignore[arg-type]
        if len(values) > outputs:
            raise ValueError(f"scale must have at most one number per output, {outputs}, got {len(values)}")
        if checks.boolean("learn_scale", learn_scale) or isinstance(scale, nn.Parameter):
            self.scale: Tensor = scale if isinstance(scale, nn.Parameter) else nn.Parameter(values)
        else:
            self.register_buffer("scale", values)

    def forward(self, spikes: SpikeTimes, fired: list[SpikeTimes] | None = None) -> SpikeTimes:
        """Spike times of the last layer, of `spikes`, which the first layer takes and which fit the last one's output.

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
        """How many rows and columns of the block's input there are for one of its output: pools times strides."""
        rows = [layer.avg_pool * layer.stride[0] for layer in self.layers if isinstance(layer, TTFSConv2d)]
        columns = [layer.avg_pool * layer.stride[1] for layer in self.layers if isinstance(layer, TTFSConv2d)]
        return math.prod(rows), math.prod(columns)

    def check_places(self, size: tuple[int, ...], out: tuple[int, ...]) -> None:
        """Raise ValueError for an input of this height and width whose shortcut is not aligned with the block's output."""
        if not shortcut_is_aligned(size, out, self.strides):
            raise ValueError(
                f"spikes must be maps of which one row in {self.strides[0]} and one column in {self.strides[1]} make the "
                f"block's output, {tuple(out)}, got {tuple(size)}; give its convolutions the padding that keeps the size"
            )

    def fold(self) -> Self:
        """`Synapse.fold` of all layers, in place; where the last one has thresholds per neuron, the scale is in units of them."""
        scale = self.folded_scale()
        for layer in self.layers:
            layer.fold()  # type: ignore[operator]
        self.replace_scale(scale)
        return self

    @torch.no_grad()
    def folded_scale(self) -> Tensor:
        """The scale, in units of the last layer's thresholds where it has one per neuron."""
        last = self.layers[-1]
        assert isinstance(last, FiringLayer)
        scale = last.effective_shortcut_scale(self.scale)
        assert isinstance(scale, Tensor)
        return scale

    def replace_scale(self, scale: Tensor) -> None:
        """Set the scale, which stays a parameter or a buffer."""
        learned = isinstance(self.scale, nn.Parameter)
        self.scale = nn.Parameter(scale, requires_grad=self.scale.requires_grad) if learned else scale

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again, except its layers and the values of `scale`.

        channels: how many numbers `scale` has.
        """
        return {"learn_scale": isinstance(self.scale, nn.Parameter), "channels": len(self.scale)}

    def extra_repr(self) -> str:
        """The settings, for print."""
        if self.scale.is_meta:
            return ""
        return f"scale={float(self.scale.detach()):g}" if len(self.scale) == 1 else f"scale=[{len(self.scale)}]"


def _as_channels(scale: float | Tensor) -> Tensor:
    """The scale of a shortcut, float32 [1] of a number, or [M]."""
    if not isinstance(scale, Tensor) or scale.dim() == 0:
        return torch.tensor([checks.real("scale", scale)], dtype=torch.float32)
    if scale.requires_grad and not isinstance(scale, nn.Parameter):
        raise TypeError(
            "scale must be a number, an nn.Parameter, or a tensor without a gradient, got one that requires a gradient"
        )
    values = checks.float32("scale", scale, 1).detach().clone()
    if not len(values):
        raise ValueError("scale must have at least one number, got none")
    checks.finite("scale", values)
    return values
