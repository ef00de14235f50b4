"""Decoders, one sample and one class at a time: the counterparts of :mod:`firstspike.decode`."""

from __future__ import annotations

import torch
from torch import Tensor

from .layers import Spikes


def temporal_weighting(spikes: Spikes, *, gamma: float, mode: str = "exp") -> Tensor:
    """Scores [B, C]: y = sum_t w[t] S[t], w[t] = gamma^-t ("exp") or gamma (T - t)/T ("linear"); paper Eq. 20-24."""
    train = spikes.dense()
    steps = train.shape[0]
    scores = torch.zeros_like(train[0])
    for t, spike in enumerate(train):
        scores = scores + (gamma**-t if mode == "exp" else gamma * (steps - t) / steps) * spike
    return scores


def membrane(v: Tensor, mode: str = "last") -> Tensor:
    """Scores [B, C] of a readout membrane v [T, B, C]: the last, the mean, or the mean weighted by T - t."""
    if mode == "last":
        return v[-1]
    if mode == "mean":
        return torch.stack(list(v)).sum(0) / len(v)
    return torch.stack([(len(v) - t) * at for t, at in enumerate(v)]).sum(0) / sum(range(1, len(v) + 1))


def first_spike(spikes: Spikes, overshoot: Tensor | None = None) -> Tensor:
    """Class [B] whose neuron fires first; a tie goes to the larger overshoot [B, C], then to the lower index.

    Where no neuron fires, all of them tie.
    """
    train = spikes.dense().detach()
    steps, batch, classes = train.shape
    chosen = []
    for b in range(batch):
        times = [next((t for t in range(steps) if train[t, b, c]), steps) for c in range(classes)]
        first = [c for c in range(classes) if times[c] == min(times)]
        if overshoot is None:
            chosen.append(first[0])
        else:
            chosen.append(max(first, key=lambda c: (float(overshoot[b, c]), -c)))
    return torch.tensor(chosen, dtype=torch.int64)


def population(scores: Tensor, classes: int) -> Tensor:
    """Scores [B, classes], each the mean of its k neighbouring outputs in scores [B, classes * k]."""
    k = scores.shape[1] // classes
    return torch.stack([scores[:, c * k : (c + 1) * k].sum(1) / k for c in range(classes)], 1)


def decision_step(spikes: Spikes) -> Tensor:
    """Step [B] int64 of the first output spike; T where there is none."""
    train = spikes.dense().detach()
    steps, batch = train.shape[:2]
    return torch.tensor([next((t for t in range(steps) if train[t, b].any()), steps) for b in range(batch)])


def ties(spikes: Spikes, classes: int | None = None) -> Tensor:
    """Bool [B]: the first output step has spikes of more than one class; k neighbouring outputs make a class."""
    train = spikes.dense().detach()
    steps, _batch, outputs = train.shape
    k = 1 if classes is None else outputs // classes
    tied = []
    for b, t in enumerate(decision_step(spikes).tolist()):
        tied.append(t < steps and len({c // k for c in range(outputs) if train[t, b, c]}) > 1)
    return torch.tensor(tied)
