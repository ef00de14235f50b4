"""Intermediate results of a forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..spikes import SpikeTimes


@dataclass(frozen=True, eq=False, repr=False)
class Observation:
    """A forward pass with its spikes, membrane and decision steps.

    scores: float [B, classes], as `forward` gives them. layers: the SpikeTimes of every firing layer in the order in which they
    run, those within residual blocks and the output layer included. membrane: float [T, B, outputs] of a membrane readout, else
    None.
    decision_step: int64 [B], 0 to T - 1 (a decision in step t costs t + 1 steps). With a spiking readout the step of
    the first output spike, T where none comes (`decode.decision_step`; `emulator.Run` has -1 there); with a membrane readout
    the step from which on the argmax of the running scores no longer changes (`decode.settled_step`).
    ties: bool [B], the first output step has spikes of several classes. silent: bool [B], no output spike. Both are
    False with a membrane readout.
    repeated, units: int64 [P], for each max pool the pooled units that fired more than once, and all pooled units.
    steps: T.

    Examples:
        >>> seen = models.mlp("64-32-10", steps=8).observe(torch.rand(4, 64))
        >>> seen.scores.shape, seen.layers[0].shape, seen.membrane.shape
        (torch.Size([4, 10]), torch.Size([4, 32]), torch.Size([8, 4, 10]))
    """

    scores: Tensor
    layers: list[SpikeTimes]
    membrane: Tensor | None
    decision_step: Tensor
    ties: Tensor
    silent: Tensor
    repeated: Tensor
    units: Tensor
    steps: int

    def __repr__(self) -> str:
        batch, classes = self.scores.shape
        spikes = int(self.spikes().sum())
        return f"Observation({batch} samples, {classes} classes, {spikes} spikes of {len(self.layers)} layers)"

    def spikes_per_neuron(self) -> Tensor:
        """The mean spikes per neuron, 0 to 1, of each firing layer: float64 [layers]; NaN for an empty batch."""
        shares = [(~layer.silent).double().mean() for layer in self.layers]
        return torch.stack(shares) if shares else self.scores.new_empty(0, dtype=torch.float64)

    def spikes(self) -> Tensor:
        """The number of spikes of each sample over all firing layers, int64 [B]; encoded input is not counted."""
        counts = [layer.count() for layer in self.layers]
        return torch.stack(counts).sum(0) if counts else torch.zeros_like(self.decision_step)
