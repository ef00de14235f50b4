"""Watching a net while it runs: the spike times, membranes and currents of every layer, by name, and their statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._base import checks
from .._base.geometry import layer_geometry
from .._base.modules import class_name, trained_parameters
from ..functional.layer import full_precision
from ..models.net import Readout, decision_step
from ..nn import (
    FiringLayer,
    PooledSpikes,
    Prepacked,
    Synapses,
    TTFSNode,
)
from ..spikes import SpikeTimes

#: Edges of the bins of `layer_signals`' histogram of X[t], in units of the layer's threshold; the two outer bins hold
#: everything beyond.
HISTOGRAM_EDGES = torch.linspace(-4, 4, 65)
_INPUTS = ("spikes", "x", "input")  # names of the input in layers of ours and of torch


class Call(NamedTuple):
    """A call of a module: its name in the net, its input (after max pooling a dense train [T, B, ...]), its output without a
    membrane beside spikes, and the shortcut into a layer with its scale.
    """

    name: str
    module: nn.Module
    received: Any
    output: Any
    shortcut: SpikeTimes | None
    shortcut_scale: float | Tensor


class Watch:
    """Within a `with` block, gives `_see` each call of some modules of a net, and calls `_begin` when a pass begins.

    The one place where this package watches modules by hooks. _inside: True while the net as a whole is running.
    Raises TypeError for a net of `models.prepare_for_inference`.
    """

    _see: Callable[[Call], None]
    _begin: Callable[[], None]

    def __init__(self, net: nn.Module, modules: Mapping[str, nn.Module]) -> None:
        if any(isinstance(module, Prepacked) for module in net.modules()):
            raise TypeError("the net must be the one that models.prepare_for_inference was given, got its result")
        self._inside, self._watched, self._hooks = False, (net, modules), list[Any]()

    def __enter__(self) -> Self:
        net, modules = self._watched
        self._inside = False
        self._hooks.append(net.register_forward_pre_hook(self._enter))
        self._hooks.append(net.register_forward_hook(self._leave, always_call=True))
        for name, module in modules.items():
            self._hooks.append(module.register_forward_hook(self._hook(name), with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _enter(self, *_: object) -> None:
        self._inside = True
        self._begin()

    def _leave(self, *_: object) -> None:
        self._inside = False

    def _hook(self, name: str) -> Callable[..., None]:
        # A function of this module, by which `plain_copy` knows it.
        return lambda *call: self._see(_call(name, *call))


def _call(name: str, module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any], output: Any) -> Call:
    """A call by what a hook gets; input and shortcut may be given by place or by name."""
    by_name = [named[key] for key in _INPUTS if key in named] or list(named.values())
    received = next(iter((*arguments[:1], *by_name)), None)
    received = received.dense() if isinstance(received, PooledSpikes) else received
    shortcut = named.get("shortcut", arguments[1] if len(arguments) > 1 else None)
    shortcut = shortcut if isinstance(shortcut, SpikeTimes) else None
    output = output[0] if isinstance(output, tuple) else output
    return Call(name, module, received, output, shortcut, named.get("shortcut_scale", 1.0))


@dataclass(frozen=True, eq=False)
class Seen:
    """What one layer did in a forward pass, without gradients.

    Parameters
    ----------
    module : the layer.
    received : its input, SpikeTimes [B, ...] or a tensor (after max pooling a dense train [T, B, ...]).
    spikes : its spike times [B, ...], None for a layer that does not fire.
    membrane : float32 [T, B, O] of an `Integrate` layer; of a layer of windows that does not fire [1, B, ...], at the end.
    shortcut, shortcut_scale : the spikes of a shortcut into the layer, and the current of one of them.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8)
    >>> with inspect.Monitor(net) as seen:
    ...     scores = net(torch.rand(4, 64))
    >>> seen.layers["layers.0"].kind, seen.layers["layers.0"].spikes.shape, seen.layers["layers.1"].membrane.shape
    ('DirectLinear', torch.Size([4, 32]), torch.Size([8, 4, 10]))
    """

    module: nn.Module
    received: SpikeTimes | Tensor
    spikes: SpikeTimes | None
    membrane: Tensor | None = None
    shortcut: SpikeTimes | None = None
    shortcut_scale: float | Tensor = 1.0

    @property
    def kind(self) -> str:
        """The name of the layer's class, without the parametrizations of torch."""
        return class_name(self.module)

    @property
    def steps(self) -> int:
        """The number of time steps T of the output."""
        return len(self.membrane) if self.membrane is not None else self.spikes.steps  # type: ignore[union-attr]

    @property
    def neurons(self) -> int:
        """The number of neurons of a sample."""
        output = self.membrane[0] if self.membrane is not None else self.spikes.times  # type: ignore[union-attr]
        return output[0].numel()


@dataclass
class Monitor(Watch):
    """Watches every layer of `net` within a `with` block and keeps the block's last forward pass.

    layers: `Seen` of each layer, by its name in `net.named_modules()`, in the order in which they ran; a layer that the net
    calls again has another entry, "name#2", and so on. currents: by the same names, X[t] as `layer_current` gives it, without
    the shortcut's. scores: [B, classes], what the net's readout gave, None without a readout.

    Parameters
    ----------
    net : any module that contains layers of `firstspike.nn` or that passes on `SpikeTimes`.
    with_currents : keep the current X[t] of every layer but those of windows as well, T floats for each neuron and sample.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8)
    >>> with inspect.Monitor(net) as seen:
    ...     torch.nn.functional.cross_entropy(net(torch.rand(4, 64)), torch.tensor([0, 1, 2, 3])).backward()
    >>> seen.times["layers.0"].shape, seen.table()["layer"].tolist()
    (torch.Size([4, 32]), ['layers.0', 'layers.1'])
    """

    net: nn.Module
    with_currents: bool = False
    layers: dict[str, Seen] = field(default_factory=dict, init=False, repr=False)
    currents: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    scores: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        checks.instance("net", self.net, nn.Module, "a torch.nn.Module")
        super().__init__(self.net, dict(self.net.named_modules()))
        self._readout: tuple[Readout, SpikeTimes | Tensor] | None = None
        self._sent: dict[str, Tensor] = {}  # the very bytes that each of `layers` gave; `detach` may copy

    @property
    def times(self) -> dict[str, SpikeTimes]:
        """The spike times of every layer that fires, by its name."""
        return {name: layer.spikes for name, layer in self.layers.items() if layer.spikes is not None}

    @property
    def steps(self) -> int:
        """The number of time steps T, the largest of all layers."""
        self._check()
        return max(layer.steps for layer in self.layers.values())

    @property
    def readout(self) -> nn.Module | None:
        """The readout that gave `scores`."""
        return None if self._readout is None else self._readout[0]

    @property
    def readout_steps(self) -> int | None:
        """The number of time steps in which `decision_step` counts; None without a readout.

        The steps of what the readout got, or in a net of windows the steps of all layers that fire, one after the other.
        """
        if self._readout is None:
            return None
        readout, received = self._readout
        if readout.timing == "windowed":
            return max(1, sum(layer.steps for layer in self.layers.values() if getattr(layer.module, "fires", False)))
        return received.steps if isinstance(received, SpikeTimes) else len(received)

    @property
    def decision_step(self) -> Tensor | None:
        """The step in which each sample is decided, int64 [B], as in `models.Observation`; None without a readout."""
        if self._readout is None:
            return None
        return decision_step(*self._readout, self.readout_steps or 1)

    def table(self) -> pd.DataFrame:
        """One row per layer: what fired, and the gradient that the layer's weight holds now.

        Columns: `layer`, `kind`, `neurons` (per sample), `firing` (share of neurons that fire, over all samples),
        `silent` (share of neurons that fire for no sample), `spikes` (per sample), `mean_step` (of the spikes, from 0),
        `gradient` (norm of the gradient of the trained weight; NaN without a backward pass); with `with_currents` also
        `current_mean` and `current_sd`. NaN where a layer does not fire or has no weight.
        """
        self._check()
        return pd.DataFrame([self._row(name, layer) for name, layer in self.layers.items()])

    @torch.no_grad()
    def _row(self, name: str, layer: Seen) -> dict[str, Any]:
        row: dict[str, Any] = {"layer": name, "kind": layer.kind, **_firing(layer)}
        gradient = weight_gradient(layer.module)
        row["gradient"] = math.nan if gradient is None else float(gradient.norm())
        if self.with_currents:
            current = self.currents.get(name, torch.full((1,), math.nan))
            row |= {"current_mean": float(current.mean()), "current_sd": float(current.std(correction=0))}
        return row

    def _begin(self) -> None:
        self.layers, self.currents, self.scores, self._readout, self._sent = {}, {}, None, None, {}

    @torch.no_grad()
    def _see(self, call: Call) -> None:
        module, output = call.module, call.output
        received = call.received.detach() if isinstance(call.received, SpikeTimes | Tensor) else None
        if isinstance(module, Readout) and received is not None:
            self.scores, self._readout = output.detach(), (module, received)
        if isinstance(module, nn.Flatten) and isinstance(output, SpikeTimes):
            self._sent[call.name] = output.times  # the same spikes in another shape
            return
        fired = SpikeTimes.from_dense(output.detach()) if isinstance(module, TTFSNode) else None
        spikes = output.detach() if isinstance(output, SpikeTimes) else fired
        membrane = output.detach() if isinstance(module, Synapses) and isinstance(output, Tensor) else None
        if membrane is not None and module.timing == "windowed":
            membrane = membrane[None]
        passed_on = isinstance(output, SpikeTimes) and any(output.times is times for times in self._sent.values())
        if received is None or (spikes is None and membrane is None) or passed_on:
            return
        name = self._entry(call.name)
        beside: list[Any] = [call.shortcut, call.shortcut_scale]
        shortcut, scale = (part.detach() if hasattr(part, "detach") else part for part in beside)
        self.layers[name] = Seen(module, received, spikes, membrane, shortcut, scale)
        if isinstance(output, SpikeTimes):
            self._sent[name] = output.times
        if self.with_currents and isinstance(module, Synapses) and module.timing == "step":
            self.currents[name] = layer_current(module, received)

    def _entry(self, name: str) -> str:
        """Under which name a run of a module is kept."""
        if not self._inside:  # layers are called one by one: perhaps another pass
            self.layers.pop(name, None)
            return name
        runs = 1 + sum(known == name or known.startswith(f"{name}#") for known in self.layers)
        return name if runs == 1 else f"{name}#{runs}"

    def _check(self) -> None:
        if not self.layers:
            raise RuntimeError("the monitor has seen no spikes: call the net within its `with` block")


def _firing(layer: Seen) -> dict[str, float]:
    if layer.spikes is None:
        return {"neurons": layer.neurons} | dict.fromkeys(("firing", "silent", "spikes", "mean_step"), math.nan)
    fired = ~layer.spikes.silent.flatten(1)
    return {
        "neurons": layer.neurons,
        "firing": float(fired.double().mean()),
        "silent": float((~fired).all(0).double().mean()),
        "spikes": float(fired.sum(1).double().mean()),
        "mean_step": float(layer.spikes.times.flatten(1)[fired].double().mean()),
    }


def layer_signals(model: Any, x: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """One dictionary per run of a layer, in order, from a forward and a backward pass on one batch.

    Keys: `layer`, the name of its class; `current_mean` and `current_sd` of the current X[t] over samples, neurons and steps,
    in units of the threshold (1 in a layer that only integrates), without the shortcut's; `histogram`, the shares of X[t] in
    the bins of `HISTOGRAM_EDGES`; `firing`, the share of neurons that fire, None for a layer that only integrates; `gradient`,
    the root mean square of the gradient of the trained weight, None for a frozen one.

    Parameters
    ----------
    model : a net with `layers`, of which those of `firstspike.nn` with a weight count, also within residual blocks and
        Sequentials, but not those of windows.
    x : float [B, ...] as the model takes it.
    labels : int64 [B], for the cross-entropy loss. The model's gradients are cleared.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8)
    >>> rows = inspect.layer_signals(net, torch.rand(4, 64), torch.tensor([0, 1, 2, 3]))
    >>> [row["layer"] for row in rows], rows[0]["gradient"] > 0
    (['DirectLinear', 'Integrate'], True)
    """
    if not isinstance(getattr(model, "layers", None), nn.ModuleList):
        raise TypeError(f"model must be a net with layers, such as a TTFSNet, got {checks.shown(model)}")
    checks.batch("x", x, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
    checks.labels(labels, len(x))
    with Monitor(model) as seen:
        model.zero_grad()
        scores = model(x)
    checks.labels_in_range(labels, scores.shape[1])
    F.cross_entropy(scores, labels).backward()
    rows = [
        _signals(layer) for layer in seen.layers.values() if isinstance(layer.module, Synapses) and layer.module.timing == "step"
    ]
    model.zero_grad()
    return rows


@torch.no_grad()
def _signals(seen: Seen) -> dict[str, Any]:
    current, gradient = layer_current(seen.module, seen.received), weight_gradient(seen.module)
    if isinstance(seen.module, FiringLayer):
        current = current / seen.module.neuron.threshold
    inner = HISTOGRAM_EDGES[1:-1].to(current.device)
    shares = torch.bincount(torch.bucketize(current.flatten(), inner), minlength=len(HISTOGRAM_EDGES) - 1).double()
    return {
        "layer": seen.kind,
        "current_mean": float(current.mean()),
        "current_sd": float(current.std(correction=0)),
        "histogram": [round(float(share), 6) for share in shares / shares.sum()],
        "firing": None if seen.spikes is None else float((~seen.spikes.silent).double().mean()),
        "gradient": None if gradient is None else float(gradient.square().mean().sqrt()),
    }


def weight_gradient(layer: nn.Module) -> Tensor | None:
    """The present gradient of the parameters that a layer's weight is computed from, flattened; None without any."""
    parts = [parameter.grad.flatten() for parameter in trained_parameters(layer, "weight") if parameter.grad is not None]
    return torch.cat(parts) if parts else None


def layer_current(layer: Any, before: SpikeTimes | PooledSpikes | Tensor) -> Tensor:
    """The current X[t] = gamma W s[t] + beta of a layer whose input is `before`: SpikeTimes, PooledSpikes, a dense train or
    data.

    Parameters
    ----------
    layer : a layer of `firstspike.nn` with a weight, not of windows, which have `current`.
    before : its input.

    Returns
    -------
    float32 [T, B, ...], or [B, ...] where it is the same in every step; in units of the thresholds where the layer has one per
        neuron. Dropout is not applied.

    Examples
    --------
    >>> layer, x = nn.TTFSLinear(4, 3, steps=8), encode.latency(torch.rand(2, 4), steps=8)
    >>> inspect.layer_current(layer, x).shape
    torch.Size([8, 2, 3])
    """
    if not isinstance(layer, Synapses) or layer.timing != "step":
        raise TypeError(f"layer must be a layer of firstspike.nn with a weight, not of windows, got {type(layer).__name__}")
    checks.batch("before", before, (SpikeTimes, PooledSpikes, Tensor), "SpikeTimes, PooledSpikes or a torch.Tensor")
    if isinstance(before, Tensor):
        checks.float32("before", before)
    weight, bias = layer.effective_weight_and_bias()
    x = before.dense() if isinstance(before, SpikeTimes | PooledSpikes) else before
    lead = x.shape[: x.dim() - (3 if x.dim() >= 4 else 1)]
    pool = getattr(layer, "avg_pool", 1)
    try:
        layer_geometry(layer, (1, *x.shape[len(lead) :]), weight)
    except ValueError as error:
        raise ValueError(f"before must fit the layer: {error}") from error
    if x.dim() >= 4:
        x = F.avg_pool2d(x.reshape(-1, *x.shape[-3:]), pool)
        if weight.dim() == 4:
            with full_precision(x.device):
                return torch.unflatten(F.conv2d(x, weight, bias, layer.stride, layer.padding), 0, lead)
        x = x.flatten(1).unflatten(0, lead)
    with full_precision(x.device):
        return F.linear(x, weight, bias)
