"""Operations per sample: an addition for each event and each weight that it reaches, a multiply-accumulate (MAC) for
each weight of a layer that gets real numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._base import checks
from .._base.geometry import shortcut_stride
from ..functional.layer import full_precision
from ..nn import PooledSpikes, Prepacked, TTFSNode
from ..spikes import SpikeTimes
from ._passes import Passes, taken


@dataclass
class OperationCount:
    """Sums over `samples`: additions of weights (events times fan-out), multiply-accumulates, membrane updates.

    Examples:
        >>> count = inspect.OperationCount(samples=4, additions=100.0)
        >>> count.means()
        {'additions': 25.0, 'macs': 0.0, 'updates': 0.0}
    """

    samples: int = 0
    additions: float = 0.0
    macs: float = 0.0
    updates: float = 0.0

    def means(self) -> dict[str, float]:
        """Per sample."""
        n = max(self.samples, 1)
        return {"additions": self.additions / n, "macs": self.macs / n, "updates": self.updates / n}


def synaptic_operations(events: Tensor, layer: Any) -> float:
    """Sum over events of the weights that each of them reaches.

    events: float [B, N] or [B, C, H, W], the number of events of each input; of a size that the layer takes. layer: a
    linear or convolutional layer of firstspike or of torch, which has `weight` and, for a convolution, `stride`, `padding`
    and perhaps `dilation` and `groups`. Weights that lie in the padding do not count. Where a layer averages windows of its
    input (`avg_pool`), every event before pooling counts.
    Raises ValueError or TypeError naming a bad argument; a transposed convolution, and one that pads with other values than
    zeros, are refused.

    Examples:
        >>> inspect.synaptic_operations(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), nn.TTFSLinear(4, 3, steps=8))
        6.0
    """
    checks.batch("events", events, (Tensor,), "a torch.Tensor")
    if not isinstance(getattr(layer, "weight", None), Tensor):
        raise TypeError(f"layer must have a weight, got {checks.shown(layer)}")
    _check_countable("layer", layer)
    pool = getattr(layer, "avg_pool", 1)
    if pool > 1:
        if events.dim() != 4 or min(events.shape[2:]) < pool:
            raise ValueError(
                f"events must be maps [batch, channels, height, width] of at least {pool} x {pool}, the layer's avg_pool, "
                f"got shape {tuple(events.shape)}"
            )
        events = F.avg_pool2d(events, pool, divisor_override=1)
    _check_size(events, layer)
    return products(events, layer)


def products(units: Tensor, layer: Any) -> float:
    """Sum over `units` [B, N] or [B, C, H, W], as they are after the layer's pooling, of the weights that each reaches."""
    weight: Tensor = layer.weight
    if weight.dim() == 2:
        return float(units.sum(dtype=torch.float64)) * weight.shape[0]
    ones, sums = units.new_ones(1, 1, *weight.shape[2:]), units.sum(1, keepdim=True)
    convolution = (F.conv1d, F.conv2d, F.conv3d)[weight.dim() - 3]
    try:
        with full_precision(units.device):
            reached = convolution(
                sums, ones, stride=layer.stride, padding=layer.padding, dilation=getattr(layer, "dilation", 1)
            )
    except RuntimeError as error:
        kernel = tuple(weight.shape[2:])
        raise ValueError(f"events must fit the layer's kernel {kernel}, got {checks.shown(units)} ({error})") from error
    return float(reached.sum(dtype=torch.float64)) * (weight.shape[0] // getattr(layer, "groups", 1))


def _check_countable(name: str, layer: Any) -> None:
    """Raise TypeError or ValueError for a convolution whose events reach other weights than `products` counts."""
    if getattr(layer, "transposed", False):
        raise TypeError(f"{name} must be a linear layer or a convolution, got a transposed one, {type(layer).__name__}")
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        raise ValueError(f"{name} must pad with zeros, got padding_mode {layer.padding_mode!r}")


def _check_size(events: Tensor, layer: Any) -> None:
    """Raise ValueError for pooled events that the layer would not take."""
    shape, weight = tuple(events.shape), layer.weight
    if weight.dim() == 2:
        inputs = weight.shape[1]
        if shape[-1] != inputs and (len(shape) == 1 or math.prod(shape[1:]) != inputs):
            raise ValueError(f"events must have the {inputs} inputs of the layer, after pooling, got shape {shape}")
        return
    channels = weight.shape[1] * getattr(layer, "groups", 1)
    if len(shape) != weight.dim() or shape[1] != channels:
        raise ValueError(f"events must have {weight.dim()} dimensions [batch, {channels}, ...], got shape {shape}")


def shortcut_additions(shortcut: SpikeTimes, outputs: torch.Size) -> float:
    """Additions of a shortcut into a layer with the output shape [B, O] or [B, O, H, W]: one per spike that reaches it."""
    return float((shortcut_times(shortcut, outputs) != checks.SILENT).sum())


def shortcut_times(shortcut: SpikeTimes, outputs: torch.Size) -> Tensor:
    """Times of a shortcut's spikes under the output's neurons, [B, M] or [B, M, H, W].

    Where the shortcut's map is larger than the output (the block has a stride), every n-th row and column counts.
    """
    if shortcut.times.dim() != 4:
        return shortcut.times
    (height, width), (out_height, out_width) = shortcut.shape[2:], outputs[2:]
    rows, columns = shortcut_stride((height, width), (out_height, out_width))
    return shortcut.times[:, :, ::rows, ::columns]


def fired_of(output: Any) -> Any:
    """What a layer sends, of what it returned: with `membrane=True` it returned its potential as well."""
    return output[0] if isinstance(output, tuple) else output


class OperationCounter:
    """Counts the operations of the forward passes within a `with` block; works for spiking nets and those with ReLU.

    layers: the counts of each layer by its name, in the order of `model.named_modules()`. Here `macs` are those of a
    layer that gets real numbers (direct coding, ReLU), `additions` those of one that gets spikes.
    Raises ValueError or TypeError naming a bad argument, or a layer that `synaptic_operations` refuses.

    Examples:
        >>> net = models.mlp("64-32-10", steps=8)
        >>> with inspect.OperationCounter(net) as count:
        ...     scores = net(torch.rand(4, 64))
        >>> count.means()["macs"]  # of the directly coded layer: 64 x 32
        2048.0
    """

    def __init__(self, model: nn.Module) -> None:
        """Prepare to watch every fully connected and convolutional layer of `model`."""
        checks.instance("model", model, nn.Module, "a torch.nn.Module")
        for name, module in model.named_modules():
            if isinstance(module, Prepacked):
                raise TypeError("model must be the net that models.prepare_for_inference was given, got what it made")
            if isinstance(module, TTFSNode):
                raise TypeError(
                    f"model must have layers of firstspike.nn, got a TTFSNode at {name!r}: the layers before it run on all "
                    "steps at once, so that nothing tells their samples from their steps"
                )
        watched = {name: m for name, m in model.named_modules() if has_products(m)}
        for name, layer in watched.items():
            _check_countable(f"model.{name}" if name else "model", layer)
        self.count = OperationCount()
        self._model, self._passes = model, Passes(self._begin)
        self._ran: set[str] = set()  # layers that have run in this pass
        self._first = ""  # the layer that ran first
        self.layers = {name: OperationCount() for name in watched}
        self._watched = watched
        self._hooks: list[Any] = []

    def __enter__(self) -> OperationCount:
        self._hooks += self._passes.watch(self._model)
        for name, layer in self._watched.items():

            def watch(layer: nn.Module, arguments: Any, named: Any, output: Any, name: str = name) -> None:
                self._add(layer, taken(arguments, named), output, self.layers[name])
                samples = _samples(layer, fired_of(output))
                if self._opens(name):
                    self.count.samples += samples
                if name not in self._ran:
                    self._ran.add(name)
                    self.layers[name].samples += samples

            self._hooks.append(layer.register_forward_hook(watch, with_kwargs=True))
        return self.count

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _begin(self) -> None:
        self._ran.clear()

    def _opens(self, name: str) -> bool:
        """Whether a layer is the first of a pass; where layers are called one by one, a pass begins with the first again."""
        opens = not self._ran or (not self._passes.inside and name == self._first)
        if opens:
            self._ran.clear()
            self._first = name
        return opens

    @torch.no_grad()
    def _add(self, layer: Any, inputs: tuple[Any, SpikeTimes | None], output: Any, own: OperationCount) -> None:
        (x, shortcut), output = inputs, fired_of(output)
        if isinstance(x, PooledSpikes):
            x = x.dense()
        additions = macs = updates = 0.0
        if isinstance(x, SpikeTimes):
            additions = synaptic_operations((~x.silent).float(), layer)
        elif hasattr(layer, "steps") and x.dim() in (3, 5):  # a dense train [T, B, ...], such as one after max pooling
            additions = synaptic_operations(x.sum(0), layer)
        else:
            macs = synaptic_operations(torch.ones_like(x), layer)
        if shortcut is not None:
            additions += shortcut_additions(shortcut, output.shape)
        if hasattr(layer, "steps"):
            neurons = output.times.numel() if isinstance(output, SpikeTimes) else output[0].numel()
            updates = float(layer.steps * neurons)
        for count in (self.count, own):
            count.additions += additions
            count.macs += macs
            count.updates += updates


def has_products(module: nn.Module) -> bool:
    """Whether a module multiplies its input by a matrix or by kernels; others have a weight as well."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or isinstance(module, (nn.Embedding, nn.LayerNorm)):
        return False
    return weight.dim() == 2 or (weight.dim() in (3, 4, 5) and hasattr(module, "stride"))


def _samples(layer: nn.Module, output: SpikeTimes | Tensor) -> int:
    if isinstance(output, SpikeTimes):
        return len(output)
    return output.shape[1] if hasattr(layer, "steps") else output.shape[0]
