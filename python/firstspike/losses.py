"""Losses and penalties on spike times, to be minimised; each is a scalar, differentiable through the spikes that it is given.

A time is counted in steps, and a silent neuron has the time T: time = T + sum_t (t - T) S[t] with S[t] = 1 at the spike.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ._base import checks
from .functional import windowed_values
from .spikes import SpikeTimes


def times(spikes: SpikeTimes) -> Tensor:
    """Return differentiable times in steps, float32 [B, ...], with T for silent neurons.

    Parameters
    ----------
    spikes : [B, ...].

    Examples
    --------
    >>> losses.times(SpikeTimes(torch.tensor([[2, 255]], dtype=torch.uint8), 8))
    tensor([[2., 8.]])
    """
    _spikes(spikes)
    steps = spikes.steps
    if spikes._is_valued():  # of windows, whose values are 1 - time / T
        return steps * (1 - windowed_values(spikes))
    clock = torch.arange(steps, dtype=torch.float32, device=spikes.device) - steps
    return steps + (clock.view(-1, *[1] * len(spikes.shape)) * spikes.dense()).sum(0)


def target_times(spikes: SpikeTimes, target: Tensor) -> Tensor:
    """Return the mean squared difference between times and target times, in parts of the run: mean ((time - target) / T)^2.

    After SpikeProp (Bohte, Kok and La Poutre 2002, Neurocomputing 48, 17-37), whose error is half the sum of the squares.

    Parameters
    ----------
    spikes : [B, ...].
    target : a real tensor in steps, whose shape broadcasts to [B, ...]; T asks for silence.

    Examples
    --------
    >>> output = SpikeTimes(torch.tensor([[2, 255]], dtype=torch.uint8), 8)
    >>> losses.target_times(output, torch.tensor([0.0, 8.0]))  # ((2 / 8)^2 + 0) / 2
    tensor(0.0312)
    """
    _spikes(spikes)
    checks.instance("target", target, Tensor, "a tensor of times in steps")
    if target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"target must be real numbers, got {target.dtype}")
    target = target.to(device=spikes.device, dtype=torch.float32).expand(spikes.shape)
    checks.finite("target", target)
    return ((times(spikes) - target) / spikes.steps).square().mean()


def margin(spikes: SpikeTimes, labels: Tensor, steps: float = 1.0) -> Tensor:
    """Return the hinge loss on times: the mean of max(0, steps + right time - earliest other time) / T.

    The right time is that of the neuron of the right class. A sample adds 0 if this neuron fires at least `steps` steps before
    all others. Crammer and Singer (2001, Journal of Machine Learning Research 2) have the multiclass hinge loss of scores.

    Parameters
    ----------
    spikes : [B, C], a neuron per class, C >= 2.
    labels : int64 [B].
    steps : > 0.

    Examples
    --------
    >>> output = SpikeTimes(torch.tensor([[2, 5, 255]], dtype=torch.uint8), 8)
    >>> losses.margin(output, torch.tensor([0])), losses.margin(output, torch.tensor([1]))
    (tensor(0.), tensor(0.5000))
    """
    right = _right(spikes, labels)
    if spikes.shape[1] < 2:
        raise ValueError(f"spikes must have at least two classes, got {tuple(spikes.shape)}")
    margin = checks.positive("steps", steps)
    when = times(spikes)
    own = when.gather(1, right).squeeze(1)
    others = when.scatter(1, right, torch.inf).amin(1)
    return F.relu(margin + own - others).mean() / spikes.steps


def first_spike_cross_entropy(spikes: SpikeTimes, labels: Tensor, tau: float = 1.0) -> Tensor:
    """Return the cross-entropy of softmax(-time / tau): the class whose neuron fires first is the likeliest.

    Mostafa (arXiv 1606.08165) has it with exp(time), Goeltz et al. (2021, Nature Machine Intelligence 3, 823-835) with times.

    Parameters
    ----------
    spikes : [B, C], a neuron per class.
    labels : int64 [B].
    tau : in steps, > 0. With a small tau, a lead of few steps is enough.

    Examples
    --------
    >>> output = SpikeTimes(torch.tensor([[2, 5, 255]], dtype=torch.uint8), 8)
    >>> losses.first_spike_cross_entropy(output, torch.tensor([0]))
    tensor(0.0509)
    """
    right = _right(spikes, labels)
    when = times(spikes)
    # The same softmax, and finite where the earliest times are divided by a small tau.
    after_first = when - when.detach().amin(1, keepdim=True)
    return F.cross_entropy(-after_first / checks.positive("tau", tau), right.squeeze(1))


def spike_count(spikes: SpikeTimes) -> Tensor:
    """Return the share of neurons that fire, 0 to 1, of step-by-step layers: a penalty on activity and energy.

    Layers of windows have gradients of their times alone: take `spike_cost` for them.

    Parameters
    ----------
    spikes : [B, ...].

    Examples
    --------
    >>> losses.spike_count(SpikeTimes(torch.tensor([[2, 255]], dtype=torch.uint8), 8))
    tensor(0.5000)
    """
    _spikes(spikes)
    if spikes._is_valued():
        raise TypeError("spikes must be of a step-by-step layer; windows have gradients of times alone: take losses.spike_cost")
    ones = torch.ones(spikes.steps, dtype=torch.float32, device=spikes.device)
    return _weighted(spikes, ones) / max(spikes.times.numel(), 1)


#: Forms of `spike_cost`: what a value v in [0, 1] counts.
COST_FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda v: v,
    "sqrt": lambda v: (v + 0.02).sqrt() - 0.02**0.5,
    "ratio": lambda v: v / (v + 0.1),
}


def spike_cost(spikes: SpikeTimes, form: str = "sqrt") -> Tensor:
    """Return the mean of g(v) over all neurons, a penalty on spikes: v is (T - t) / T for a spike at t, and 0 for silence.

    It serves step-by-step layers and layers of windows, as values have gradients in both. The forms that are steep at 0 silence
    small values and leave large ones. `train.SpikeCost` weighs the layers of a net by what their spikes cost.

    Parameters
    ----------
    spikes : [B, ...].
    form : "mean" for g(v) = v, "sqrt" for sqrt(v + 0.02) - sqrt(0.02), or "ratio" for v / (v + 0.1).

    Examples
    --------
    >>> losses.spike_cost(SpikeTimes(torch.tensor([[2, 255]], dtype=torch.uint8), 8), "mean")  # (6 / 8 + 0) / 2
    tensor(0.3750)
    """
    _spikes(spikes)
    checks.one_of("form", form, COST_FORMS)
    counted = COST_FORMS[form]
    if spikes._is_valued():
        return counted(windowed_values(spikes)).mean()
    values = 1 - torch.arange(spikes.steps, dtype=torch.float32, device=spikes.device) / spikes.steps
    return _weighted(spikes, counted(values)) / max(spikes.times.numel(), 1)


def latency(spikes: SpikeTimes) -> Tensor:
    """Return the mean time in parts of the run, from 0 (all in step 0) to 1 (all silent): a penalty on late spikes.

    Parameters
    ----------
    spikes : [B, ...].

    Examples
    --------
    >>> losses.latency(SpikeTimes(torch.tensor([[2, 255]], dtype=torch.uint8), 8))  # (2 / 8 + 1) / 2
    tensor(0.6250)
    """
    _spikes(spikes)
    if spikes._is_valued():
        return 1 - windowed_values(spikes).mean()
    early = 1 - torch.arange(spikes.steps, dtype=torch.float32, device=spikes.device) / spikes.steps
    return 1 - _weighted(spikes, early) / max(spikes.times.numel(), 1)


def existence(spikes: SpikeTimes, membrane: Tensor, threshold: float = 1.0) -> Tensor:
    """Return what silent neurons lack to fire: the mean over all neurons of max(0, threshold - V[T - 1]), 0 for those that fired.

    A silent neuron far from the threshold gets no surrogate gradient; here it gets one from its last potential. The weight sum
    cost of Mostafa (arXiv 1606.08165) serves the same end.

    Parameters
    ----------
    spikes, membrane : as `layer(x, membrane=True)` returns them, [B, ...] and float32 [T, B, ...].
    threshold : that of the layer, or 1 if the layer has one threshold per output, as its membrane is in units of them.

    Examples
    --------
    >>> layer = nn.TTFSLinear(4, 3, steps=8)
    >>> x = encode.latency(torch.rand(2, 4), steps=8)
    >>> spikes, membrane = layer(x, membrane=True)
    >>> losses.existence(spikes, membrane).shape
    torch.Size([])
    """
    _spikes(spikes)
    membrane = checks.float32("membrane", membrane)
    if membrane.shape != (spikes.steps, *spikes.shape):
        raise ValueError(f"membrane must have shape {(spikes.steps, *spikes.shape)}, got {tuple(membrane.shape)}")
    return (F.relu(checks.positive("threshold", threshold) - membrane[-1]) * spikes.silent).mean()


def _weighted(spikes: SpikeTimes, weights: Tensor) -> Tensor:
    """sum_t w[t] S[t] over all neurons: the value off the bytes, the gradient through the anchor, without a dense train."""
    table = torch.zeros(256, dtype=torch.float32, device=spikes.device)
    table[: spikes.steps] = weights
    value = table[spikes.times.long()].sum()
    if spikes._anchor is None:
        return value
    if spikes._support is not None:
        return value + (spikes._anchor * weights[spikes._support.place[0].long()]).sum()
    anchor = spikes._dense_anchor()
    assert anchor is not None
    return value + (anchor.flatten(1).sum(1) * weights).sum()


def _spikes(spikes: SpikeTimes) -> None:
    checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes")


def _right(spikes: SpikeTimes, labels: Tensor) -> Tensor:
    """The labels, int64 [B, 1]."""
    _spikes(spikes)
    if len(spikes.shape) != 2:
        raise ValueError(f"spikes must have shape [batch, classes], got {tuple(spikes.shape)}")
    labels = checks.labels(labels, spikes.shape[0], spikes.shape[1])
    checks.same_device("spikes", spikes.times, "labels", labels)
    return labels.unsqueeze(1)
