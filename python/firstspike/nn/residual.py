"""A block of layers whose own input is added to the current of its last layer, and walks over nets that hold such blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from .. import functional
from .._base import checks
from .._base.geometry import shortcut_is_aligned
from ..spikes import SpikeTimes
from .settings import Timing
from .synapses import Synapses
from .ttfs import TTFSConv2d, TTFSLinear
from .windowed import WindowedShortcut


class Residual(nn.Module):
    """Layers one after another, the last of which gets the block's input too: its own current + scale times the input.

    It is one layer with two inputs: a neuron still fires at most once. Step by step, X[t] = W s'[t] + scale s[t], so that a spike
    of the input may fire its neuron at once. If such a block has a stride or pools its input, every n-th row and column of the
    unpooled input counts; if its last layer has more channels than the input, the others get no shortcut. In a block of windows
    the values of the input, average pooled as in the first layer, are added before the last layer's normalisation; without a
    `shortcut` they must have the shape of its output.

    Parameters
    ----------
    layers : `TTFSConv2d` and `TTFSLinear` of the same steps; or modules of which the last is a `WindowedConv2d` or
        `WindowedLinear`.
    shortcut : a `WindowedShortcut` in place of the scale, for layers of windows alone.
    scale : the current of one spike or value of the input, a number or float32 [M], one per channel of the input. Step by step
        with 1, the neurons' default threshold, a spike fires its neuron alone and an untrained block passes its input on; deep
        stacks need that. An `nn.Parameter` [1] or [M] is learned.
    learn_scale : makes a scale that is not one a parameter; by default it is for layers of windows.

    Examples
    --------
    >>> convolution = lambda: nn.TTFSConv2d(4, 4, 3, padding=1, steps=8)
    >>> block = nn.Residual([convolution(), convolution()], scale=0.25)
    >>> block(encode.latency(torch.rand(2, 4, 6, 6), steps=8)).shape
    torch.Size([2, 4, 6, 6])
    >>> layers = [nn.WindowedConv2d(8, 8, 3, padding=1, steps=16) for _ in range(2)]
    >>> nn.Residual(layers)(SpikeTimes(torch.zeros(2, 8, 6, 6, dtype=torch.uint8), steps=16)).shape
    torch.Size([2, 8, 6, 6])
    """

    fires = True
    scale: Tensor  # None where there is a shortcut
    timing: Timing
    steps: int

    def __init__(
        self,
        layers: Iterable[nn.Module],
        shortcut: WindowedShortcut | None = None,
        *,
        scale: float | Tensor = 1.0,
        learn_scale: bool | None = None,
    ) -> None:
        super().__init__()
        checks.optional("shortcut", shortcut, WindowedShortcut, "a WindowedShortcut or None")
        self.layers = nn.ModuleList(checks.in_order("layers", layers, nn.Module, "modules"))
        last: Any = self.layers[-1] if len(self.layers) else None
        windowed = isinstance(last, Synapses) and last.fires and last.timing == "windowed"
        if not windowed and not all(isinstance(layer, TTFSConv2d | TTFSLinear) for layer in self.layers):
            kinds = [type(layer).__name__ for layer in self.layers]
            raise TypeError(
                f"layers must be TTFSConv2d or TTFSLinear, or end with a WindowedConv2d or WindowedLinear, got {kinds}"
            )
        steps: set[Any] = {last.steps} if windowed else {layer.steps for layer in self.layers}
        if len(steps) != 1:
            raise ValueError(f"layers must be at least one, all of the same steps, got {sorted(steps)}")
        self.steps, self.timing = steps.pop(), last.timing
        if shortcut is not None and not windowed:
            raise TypeError("shortcut must be None for layers that run step by step")
        self.shortcut: nn.Module | None = shortcut
        if shortcut is not None:
            self.register_parameter("scale", None)
            return
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
        elif checks.boolean("learn_scale", windowed if learn_scale is None else learn_scale):
            self.scale = nn.Parameter(values.detach().clone())
        else:
            self.register_buffer("scale", values.detach().clone())

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        """Return the last layer's spike times of `spikes`, which the first layer takes and which fit the last one's output."""
        checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes (a block cannot stand after max pooling)")
        *layers, last = self.layers
        signal = spikes
        for layer in layers:
            signal = layer(signal)
        output: SpikeTimes
        if self.timing == "windowed":
            output = last(signal, self._current(spikes, last))
        else:
            output = last(signal, spikes, shortcut_scale=self.scale)
            if len(output.shape) == 4:
                self.check_places(spikes.shape[2:], output.shape[2:])
        return output

    def _current(self, spikes: SpikeTimes, last: Any) -> Tensor:
        """The shortcut's current into a layer of windows."""
        if self.shortcut is not None:
            current: Tensor = self.shortcut(spikes, last)
            return current
        scale: Tensor = last.round_shortcut(self.scale).view(-1, *[1] * (len(spikes.shape) - 2))
        return functional.windowed_values(spikes, avg_pool=getattr(self.layers[0], "avg_pool", 1)) * scale

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
        """Fold all layers, in place, and into scale or shortcut what acts on the last layer's current. Returns self."""
        fold_layers(self)
        return self

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments with which the block can be built again, except its layers and shortcut.

        channels: how many numbers `scale` has, in place of their values.
        """
        return {} if self.scale is None else {"learn_scale": isinstance(self.scale, nn.Parameter), "channels": len(self.scale)}

    def extra_repr(self) -> str:
        """Return the settings, for print."""
        if self.scale is None or self.scale.is_meta:
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
    """List the layers in order; a residual block gives its layers one by one."""
    for n, layer in enumerate(layers):
        if isinstance(layer, Residual):
            last = len(layer.layers) - 1
            for i, inner in enumerate(layer.layers):
                yield Part((n, i), inner, i == 0, layer if i == last else None)
        else:
            yield Part((n,), layer)


@torch.no_grad()
def fold_layers(module: nn.Module) -> None:
    """Fold all layers within a module, in place, and with the last layer of a block its scale or shortcut."""
    blocks = [block for block in module.modules() if isinstance(block, Residual)]
    for block in blocks:
        if isinstance(block.shortcut, Synapses):
            block.shortcut.fold()
    # Shortcuts of all blocks first: two blocks may share their last layer, which is folded once.
    shortcuts: list[tuple[Any, str, Any]] = []
    for block in blocks:
        last: Any = block.layers[-1]
        owner, name = (block, "scale") if block.shortcut is None else (block.shortcut, "weight")
        shortcuts.append((owner, name, last.effective_shortcut_scale(getattr(owner, name))))
    for part in module.modules():
        if isinstance(part, Synapses):
            part.fold()
    for owner, name, value in shortcuts:
        old = getattr(owner, name)
        setattr(owner, name, nn.Parameter(value, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else value)
