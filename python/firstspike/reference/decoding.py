"""Decoders, one sample and one class at a time: the counterparts of :mod:`firstspike.decode`."""

from __future__ import annotations

import torch
from torch import Tensor

from .layers import Spikes


def temporal_weighting(spikes: Spikes, *, gamma: float, mode: str = "exp") -> Tensor:
    """Scores [B, C]: y = sum_t w[t] S[t], w[t] = gamma^-t ("exp") or gamma (T - t)/T ("linear"); paper Eq. 20-24.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4)
        >>> reference.temporal_weighting(x, gamma=2.0).tolist()
        [[1.0, 0.25, 0.0]]
    """
    train = spikes.dense()
    steps = train.shape[0]
    scores = torch.zeros_like(train[0])
    for t, spike in enumerate(train):
        scores = scores + (gamma**-t if mode == "exp" else gamma * (steps - t) / steps) * spike
    return scores


def membrane(v: Tensor, mode: str = "last") -> Tensor:
    """Scores [B, C] of a readout membrane v [T, B, C]: the last, the mean, or the mean weighted by T - t.

    Examples:
        >>> v = torch.tensor([1.0, 3.0]).view(2, 1, 1)
        >>> [reference.decode_membrane(v, mode).item() for mode in ("last", "mean")]
        [3.0, 2.0]
    """
    if mode == "last":
        return v[-1]
    if mode == "mean":
        return torch.stack(list(v)).sum(0) / len(v)
    return torch.stack([(len(v) - t) * at for t, at in enumerate(v)]).sum(0) / sum(range(1, len(v) + 1))


def first_spike(spikes: Spikes, overshoot: Tensor | None = None) -> Tensor:
    """Class [B] whose neuron fires first; a tie goes to the larger overshoot [B, C], then to the lower index.

    Where no neuron fires, all of them tie.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[2, 1, 1]], dtype=torch.uint8), 4)
        >>> reference.first_spike(x), reference.first_spike(x, torch.tensor([[0.0, 0.1, 0.2]]))
        (tensor([1]), tensor([2]))
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
    """Scores [B, classes], each the mean of its k neighbouring outputs in scores [B, classes * k].

    Examples:
        >>> reference.population(torch.tensor([[1.0, 3.0, 5.0, 5.0]]), 2)
        tensor([[2., 5.]])
    """
    k = scores.shape[1] // classes
    return torch.stack([scores[:, c * k : (c + 1) * k].sum(1) / k for c in range(classes)], 1)


def decision_step(spikes: Spikes) -> Tensor:
    """Step [B] int64 of the first output spike; T where there is none.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[2, 1], [255, 255]], dtype=torch.uint8), 4)
        >>> reference.decision_step(x)
        tensor([1, 4])
    """
    train = spikes.dense().detach()
    steps, batch = train.shape[:2]
    return torch.tensor([next((t for t in range(steps) if train[t, b].any()), steps) for b in range(batch)])


def ties(spikes: Spikes, classes: int | None = None) -> Tensor:
    """Bool [B]: the first output step has spikes of more than one class; k neighbouring outputs make a class.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[1, 1], [1, 2]], dtype=torch.uint8), 4)
        >>> reference.ties(x)
        tensor([ True, False])
    """
    train = spikes.dense().detach()
    steps, _batch, outputs = train.shape
    k = 1 if classes is None else outputs // classes
    tied = []
    for b, t in enumerate(decision_step(spikes).tolist()):
        tied.append(t < steps and len({c // k for c in range(outputs) if train[t, b, c]}) > 1)
    return torch.tensor(tied)
