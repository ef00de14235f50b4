"""A feed-forward TTFS network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import _checks, decode
from ..nn import DirectLinear, FiringLayer, FirstSpike, MaxPool2d, MembraneReadout, TTFSLinear
from ..spikes import SpikeTimes


@dataclass(frozen=True)
class Observation:
    """A forward pass with all that it went through.

    scores: float [B, classes], as `forward` gives them. layers: the SpikeTimes of every firing layer in order, the output layer
    included where it fires. membrane: float [T, B, outputs] of a membrane readout, else None.
    decision_step: int64 [B], 0 to T - 1 (a decision in step t costs t + 1 steps). With a spiking readout the step of the first
    output spike, T where none comes (`decode.decision_step`); with a membrane readout the step from which on the argmax of the
    running scores no longer changes (`decode.settled_step`).
    ties: bool [B], the first output step has spikes of several classes; silent: bool [B], no output spike. Both are False with a
    membrane readout.
    repeated, units: int64 [P], for each max pool the pooled units that fired more than once, and all pooled units.
    """

    scores: Tensor
    layers: list[SpikeTimes]
    membrane: Tensor | None
    decision_step: Tensor
    ties: Tensor
    silent: Tensor
    repeated: Tensor
    units: Tensor

    def spikes_per_neuron(self) -> Tensor:
        """The mean number of spikes a neuron, 0 to 1, for each firing layer: float64 [layers]."""
        return torch.stack([(~layer.silent).double().mean() for layer in self.layers])

    def spikes(self) -> Tensor:
        """The number of spikes of each sample over all firing layers, int64 [B]."""
        return torch.stack([layer.count() for layer in self.layers]).sum(0)


class TTFSNet(nn.Module):
    """A feed-forward net of the layers of `firstspike.nn`; `models.build` makes it from a string.

    encoder: `LatencyEncoder`, or `Identity` where the first layer is directly coded. layers: ModuleList in order; average pooling
    is a factor inside the layers, max and earliest pooling are modules of their own. readout: `MembraneReadout`,
    `TemporalWeighting` or `FirstSpike`. `spec` is the string, `config()` all that `models.from_config` needs.
    """

    def __init__(self, encoder: nn.Module, layers: list[nn.Module], readout: nn.Module, *, input_shape: tuple[int, ...],
                 flat: bool, config: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = nn.ModuleList(layers)
        self.readout = readout
        self.input_shape = input_shape
        self.flat = flat
        self._config = dict(config)

    @property
    def spec(self) -> str:
        """The net's string."""
        return self._config["spec"]

    @property
    def steps(self) -> int:
        """The number of time steps T."""
        return self._config["steps"]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.readout.classes

    def config(self) -> dict[str, Any]:
        """All arguments of `models.build` that made this net, as JSON can hold them."""
        return dict(self._config)

    def forward(self, x: Tensor) -> Tensor:
        """Scores, float32 [B, classes], of x, float32 [B, *input_shape] (nets without convolutions take [B, N], too)."""
        scores, _, _ = self._run(x, None)
        return scores

    def observe(self, x: Tensor) -> Observation:
        """The forward pass on x with its spikes, membrane and decision steps; its scores carry gradients as those of `forward`."""
        trains: list[SpikeTimes] = []
        scores, spikes, v = self._run(x, trains)
        batch, pools = len(scores), [layer for layer in self.layers if isinstance(layer, MaxPool2d)]
        if v is not None:
            no = torch.zeros(batch, dtype=torch.bool, device=scores.device)
            step, ties, silent = decode.settled_step(self.readout.running(v.detach())), no, no
        else:
            step, ties = decode.decision_step(spikes), decode.ties(spikes, self.classes)
            silent = step == spikes.steps
        none = torch.zeros(0, dtype=torch.int64, device=scores.device)
        return Observation(scores, trains, v, step, ties, silent, torch.stack([p.repeated for p in pools]) if pools else none,
                           torch.stack([p.units for p in pools]) if pools else none)

    def _run(self, x: Tensor, trains: list[SpikeTimes] | None) -> tuple[Tensor, SpikeTimes | None, Tensor | None]:
        """Scores, output spikes, output membrane; appends the spikes of the firing layers to `trains`."""
        signal = self.encoder(self._input(x))
        for layer in self.layers:
            before, signal = signal, layer(signal)
            if trains is not None and isinstance(layer, FiringLayer):
                trains.append(signal)
        if isinstance(self.readout, MembraneReadout):
            return self.readout(signal), None, signal
        if isinstance(self.readout, FirstSpike):
            return self.readout(signal, self._overshoot(before, signal)), signal, None
        return self.readout(signal), signal, None

    def _overshoot(self, before: SpikeTimes | Tensor, spikes: SpikeTimes) -> Tensor:
        last = self.layers[-1]
        assert isinstance(last, (TTFSLinear, DirectLinear))
        with torch.no_grad():
            return decode.overshoot(spikes, last.membrane(before), threshold=last.threshold)

    def _input(self, x: Tensor) -> Tensor:
        x = _checks.float32("x", x)
        size = tuple(x.shape[1:])
        if size != self.input_shape and not (self.flat and size == (math.prod(self.input_shape),)):
            raise ValueError(f"x must have shape [batch, {', '.join(map(str, self.input_shape))}], got {tuple(x.shape)}")
        return x.flatten(1) if self.flat else x
