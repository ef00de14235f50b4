"""Watching a net while it runs: the spike times, membranes and currents of every layer, by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from .. import decode
from .._base import checks
from .._base.modules import class_name
from ..nn import FirstSpike, MembraneReadout, Synapse, TemporalWeighting, TTFSNode
from ..spikes import SpikeTimes
from .calls import Call, Calls
from .signals import layer_current, weight_gradient

_READOUTS = (MembraneReadout, TemporalWeighting, FirstSpike)


@dataclass(frozen=True, eq=False)
class Seen:
    """What one layer did in a forward pass, without gradients.

    module: the layer. received: its input, SpikeTimes [B, ...] or a tensor (after max pooling a dense train [T, B, ...]).
    spikes: its spike times [B, ...], None for a layer that does not fire. membrane: float32 [T, B, O] of an `Integrate` layer.
    shortcut, shortcut_scale: the spikes of a shortcut into the layer, and the current of one of them.

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
class Monitor:
    """Watches every layer of `net` within a `with` block and keeps the block's last forward pass.

    net: any module that contains layers of `firstspike.nn` or that passes on `SpikeTimes`. with_currents: keep the current X[t]
    of every layer as well, T floats for each neuron and sample.

    layers: `Seen` of each layer, by its name in `net.named_modules()`, in the order in which they ran; a layer that the net
    calls again has another entry, "name#2", and so on. currents: by the same names, X[t] as `layer_current` gives it, without
    the shortcut's. scores: [B, classes], what the net's readout gave, None without a readout.

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
        self._calls = Calls(self.net, dict(self.net.named_modules()), self._see, self._forget)
        self._readout: tuple[nn.Module, SpikeTimes | Tensor] | None = None
        self._sent: dict[str, Tensor] = {}  # the very bytes that each of `layers` gave; `detach` may copy

    def __enter__(self) -> Monitor:
        self._calls.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.__exit__()

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
        """The number of time steps of what the readout got, in which `decision_step` counts; None without a readout."""
        if self._readout is None:
            return None
        received = self._readout[1]
        return received.steps if isinstance(received, SpikeTimes) else len(received)

    @property
    def decision_step(self) -> Tensor | None:
        """The step in which each sample is decided, int64 [B], as in `models.Observation`; None without a readout."""
        if self._readout is None:
            return None
        readout, received = self._readout
        if isinstance(received, SpikeTimes):
            return decode.decision_step(received)
        assert isinstance(readout, MembraneReadout)
        return decode.settled_step(readout.running(received))

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

    def _forget(self) -> None:
        self.layers, self.currents, self.scores, self._readout, self._sent = {}, {}, None, None, {}

    @torch.no_grad()
    def _see(self, call: Call) -> None:
        module, output = call.module, call.output
        received = call.received.detach() if isinstance(call.received, SpikeTimes | Tensor) else None
        if isinstance(module, _READOUTS) and received is not None:
            self.scores, self._readout = output.detach(), (module, received)
        if isinstance(module, nn.Flatten) and isinstance(output, SpikeTimes):
            self._sent[call.name] = output.times  # the same spikes in another shape
            return
        spikes = _spikes(module, output)
        membrane = output.detach() if isinstance(module, Synapse) and isinstance(output, Tensor) else None
        passed_on = isinstance(output, SpikeTimes) and any(output.times is times for times in self._sent.values())
        if received is None or (spikes is None and membrane is None) or passed_on:
            return
        name = self._entry(call.name)
        beside: list[Any] = [call.shortcut, call.shortcut_scale]
        shortcut, scale = (part.detach() if hasattr(part, "detach") else part for part in beside)
        self.layers[name] = Seen(module, received, spikes, membrane, shortcut, scale)
        if isinstance(output, SpikeTimes):
            self._sent[name] = output.times
        if self.with_currents and isinstance(module, Synapse):
            self.currents[name] = layer_current(module, received)

    def _entry(self, name: str) -> str:
        """Under which name a run of a module is kept."""
        if not self._calls.inside:  # layers are called one by one: perhaps another pass
            self.layers.pop(name, None)
            return name
        runs = 1 + sum(known == name or known.startswith(f"{name}#") for known in self.layers)
        return name if runs == 1 else f"{name}#{runs}"

    def _check(self) -> None:
        if not self.layers:
            raise RuntimeError("the monitor has seen no spikes: call the net within its `with` block")


def _spikes(module: nn.Module, output: Any) -> SpikeTimes | None:
    if isinstance(output, SpikeTimes):
        return output.detach()
    return SpikeTimes.from_dense(output.detach()) if isinstance(module, TTFSNode) else None


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
