"""Operations of a net: additions for events and the weights that they reach, multiply-accumulates, membrane updates."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._base import checks
from .._base.geometry import shortcut_stride
from ..functional.layer import full_precision
from ..nn import Synapses
from ..spikes import SpikeTimes
from .monitor import Call, Seen, Watch


class Products(Watch):
    """Keeps, within a `with` block, the calls of the layers of torch with products, those of a net's last forward pass."""

    def __init__(self, net: nn.Module) -> None:
        """Prepare to watch them; TypeError and ValueError for a layer whose products cannot be counted."""
        layers = {name: module for name, module in net.named_modules() if has_products(module)}
        for name, layer in layers.items():
            _check_countable(f"net.{name}" if name else "net", layer)
        super().__init__(net, layers)
        self.calls: list[Call] = []
        self._begin, self._see = self.calls.clear, self.calls.append


def synaptic_operations(events: Tensor, layer: Any) -> float:
    """Sum over events of the weights that each of them reaches.

    Parameters
    ----------
    events : float [B, N] or [B, C, H, W], the number of events of each input.
    layer : a linear layer or convolution of firstspike or of torch, neither transposed nor padded with other values than zeros.
        Weights that lie in the padding do not count. Where a layer averages windows of its input (`avg_pool`), every event
        before pooling counts.

    Examples
    --------
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
            expected = f"maps [B, C, H, W] of at least {pool} x {pool}, the pool"
            raise ValueError(f"events must be {expected}, got shape {tuple(events.shape)}")
        events = F.avg_pool2d(events, pool, divisor_override=1)
    _check_size(events, layer)
    return products(events, layer)


def products(units: Tensor, layer: Any) -> float:
    """Sum over `units` [B, N] or [B, C, H, W], as they are after the layer's pooling, of the weights that each reaches."""
    weight = weight_of(layer)
    if weight.dim() == 2:
        return float(units.sum(dtype=torch.float64)) * weight.shape[0]
    ones, sums = units.new_ones(1, 1, *weight.shape[2:]), units.sum(1, keepdim=True)
    convolution = (F.conv1d, F.conv2d, F.conv3d)[weight.dim() - 3]
    dilation = getattr(layer, "dilation", 1)
    with full_precision(units.device):
        reached = convolution(sums, ones, stride=layer.stride, padding=layer.padding, dilation=dilation)
    return float(reached.sum(dtype=torch.float64)) * (weight.shape[0] // getattr(layer, "groups", 1))


def additions_and_macs(layer: nn.Module, received: Any, shortcut: SpikeTimes | None, outputs: torch.Size) -> tuple[float, float]:
    """The operations of one call: additions for spikes, multiply-accumulates for numbers; outputs: the shape of its output."""
    events, steps = input_events(received, layer)
    operations = synaptic_operations(events if steps else torch.ones_like(events), layer)
    additions, macs = (operations, 0.0) if steps else (0.0, operations)
    if shortcut is not None:
        additions += float((shortcut_times(shortcut, outputs) != checks.SILENT).sum())
    return additions, macs


def input_events(received: SpikeTimes | Tensor, layer: nn.Module) -> tuple[Tensor, int]:
    """The events of each input [B, ...] of a layer over its window, and the window's steps; real numbers as they are, and 0.

    A layer of firstspike gets spike times or, such as after max pooling, a dense train [T, B, ...].
    """
    if isinstance(received, SpikeTimes):
        return (~received.silent).float(), received.steps
    if isinstance(layer, Synapses) and received.dim() in (3, 5):
        return received.sum(0), len(received)
    return received, 0


def shortcut_times(shortcut: SpikeTimes, outputs: torch.Size) -> Tensor:
    """Times of a shortcut's spikes under the output's neurons, [B, M] or [B, M, H, W].

    Where the shortcut's map is larger than the output (the block has a stride), every n-th row and column counts.
    """
    if shortcut.times.dim() != 4:
        return shortcut.times
    rows, columns = shortcut_stride((shortcut.shape[2], shortcut.shape[3]), (outputs[2], outputs[3]))
    return shortcut.times[:, :, ::rows, ::columns]


def active_in_step(events: Tensor, layer: Any, shortcut: Tensor | None = None, alive: Tensor | None = None) -> float:
    """The neurons of all samples that at least one of the events [B, ...] of a step reaches.

    shortcut: spikes that reach neurons one by one, bool [B, M] or [B, M, H, W], of the first M channels. alive: the neurons that
    have not fired before, bool [B, O] or [B, O, H, W]; None for all.
    """
    weight = weight_of(layer)
    pool = getattr(layer, "avg_pool", 1)
    if pool > 1:
        events = F.max_pool2d(events, pool)  # it leaves out the rows and columns that average pooling leaves out
    if weight.dim() == 2:
        reached = events.flatten(1).any(1, keepdim=True)
    else:
        ones = events.new_ones(1, 1, *weight.shape[2:])
        reached = F.conv2d(events.amax(1, keepdim=True), ones, stride=layer.stride, padding=layer.padding) > 0
    reached = reached.expand(-1, len(weight), *reached.shape[2:])
    if shortcut is not None:
        reached = reached.clone()
        reached[:, : shortcut.shape[1]] |= shortcut
    return float((reached if alive is None else reached & alive).sum())


def has_products(module: nn.Module) -> bool:
    """True if a module multiplies its input by a matrix or by kernels; others have a weight as well."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or isinstance(module, (nn.Embedding, nn.LayerNorm)):
        return False
    return weight.dim() == 2 or (weight.dim() in (3, 4, 5) and hasattr(module, "stride"))


def _check_countable(name: str, layer: Any) -> None:
    """Raise TypeError or ValueError for a convolution whose events reach other weights than `products` counts."""
    if getattr(layer, "transposed", False):
        raise TypeError(f"{name} must be a linear layer or a convolution, got a transposed one, {type(layer).__name__}")
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        raise ValueError(f"{name} must pad with zeros, got padding_mode {layer.padding_mode!r}")


def weight_of(layer: Any) -> Tensor:
    """The weight on the layer's input, whose shape counts."""
    weight: Tensor = layer._tied_weight() if isinstance(layer, Synapses) else layer.weight
    return weight


def _check_size(events: Tensor, layer: Any) -> None:
    """Raise ValueError for pooled events that the layer would not take."""
    shape, weight = tuple(events.shape), weight_of(layer)
    inputs = weight.shape[1] * getattr(layer, "groups", 1)
    if weight.dim() == 2:
        fits = len(shape) > 1 and inputs in (shape[-1], math.prod(shape[1:]))
    else:
        fits = len(shape) == weight.dim() and shape[1] == inputs
    if not fits:
        raise ValueError(f"events must have {inputs} inputs or channels, after pooling, and a batch, got shape {shape}")


def all_updates(layer: Any, received: Any, output: SpikeTimes | Tensor) -> float:
    """Neurons times steps of one call: all steps, or the steps of the windows of the input and of a layer that fires."""
    if layer.timing == "step":
        return float(layer.steps * (output.times if isinstance(output, SpikeTimes) else output[0]).numel())
    neurons = output.times if isinstance(output, SpikeTimes) else output
    return float((received.steps + (layer.steps if layer.fires else 0)) * neurons.numel())


def membrane_updates(seen: Seen) -> float:
    """Potentials that change in one call, per neuron and step.

    An event, or a directly coded current, changes them until the neuron fires. In a layer of windows they change in each step
    from the first event that arrives to the end of the input's window, then in the layer's window until the neuron fires.
    """
    layer: Any = seen.module
    received, fired = seen.received, None if seen.spikes is None else seen.spikes.times
    if layer.timing == "windowed" and isinstance(received, SpikeTimes):
        rising = sum(active_in_step((received.times <= step).float(), layer) for step in range(received.steps))
        return rising if fired is None else rising + float((fired.float() + 1).clamp(max=seen.steps).sum())
    beside = None if seen.shortcut is None or fired is None else shortcut_times(seen.shortcut, fired.shape)

    def active(events: Tensor, step: int) -> float:
        alive = None if fired is None else fired >= step
        return active_in_step(events, layer, None if beside is None else beside == step, alive)

    if isinstance(received, SpikeTimes):
        return sum(active((received.times == step).float(), step) for step in range(received.steps))
    if input_events(received, layer)[1]:
        return sum(active(train, step) for step, train in enumerate(received))
    if fired is not None:
        return float((fired.float() + 1).clamp(max=seen.steps).sum())
    return float(seen.neurons * layer.steps * len(received))
