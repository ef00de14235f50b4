"""Layers of neurons that fire at most once, as functions of spike times and weights.

Every layer runs a fused kernel that reads its weights once, whatever the number of steps
(docs/model.md, section "Backward pass"); with the dense surrogates `atan` and `sigmoid` the gradient needs every step, so
training takes the dense path: products of torch and `fire`. `firstspike.reference` has readable float64 references of
all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import ops
from .._base import checks
from .._base.geometry import anchor_to_sites, from_sites, to_sites
from ..spikes import SpikeTimes
from ..surrogate import Surrogate, triangle
from . import portable
from .layer import Sizes, fire_layer, fired_of, input_of, integrate_layer, neuron_of, thinned
from .windowed import windowed_conv2d as windowed_conv2d
from .windowed import windowed_encode as windowed_encode
from .windowed import windowed_fire as windowed_fire
from .windowed import windowed_linear as windowed_linear
from .windowed import windowed_values as windowed_values

GRANULARITIES = ("layer", "channel")  # over which weights `normalize_weight` takes mean and deviation
_TRIANGLE = triangle()


def ramp(
    current: Tensor,
    steps: int,
    *,
    threshold: float = 1.0,
    decay: float = 1.0,
    surrogate: Surrogate = _TRIANGLE,
    synaptic_decay: float = 0.0,
) -> SpikeTimes:
    """Fire by direct coding: each neuron has a constant current, X[t] = current in every step, and fires once.

    Parameters
    ----------
    current : float32 [B, ...].
    steps : T, 1 to 254.
    threshold : > 0.
    decay, surrogate, synaptic_decay : as in `linear`.

    Returns
    -------
    SpikeTimes of the shape of `current`. So the product of a first layer is computed once, not T times.

    Examples
    --------
    >>> ramp(torch.tensor([[2.0, 0.4, -1.0]]), steps=4).times
    tensor([[  0,   2, 255]], dtype=torch.uint8)
    """
    current = checks.float32("current", current)
    if current.dim() < 2 or 0 in current.shape[1:]:
        raise ValueError(f"current must have shape [batch, neurons, ...] with neurons, got {tuple(current.shape)}")
    steps = checks.steps(steps)
    neuron = neuron_of(threshold, decay, surrogate, steps, synaptic_decay)
    record = torch.is_grad_enabled() and current.requires_grad
    if record and not surrogate.sparse:
        return SpikeTimes._of_fired(ops.fire.fire(current.expand(steps, *current.shape).contiguous(), neuron))
    return fired_of(ops.ramp.ramp(to_sites(current), steps, neuron, record), current.shape, steps, record)


def linear(
    spikes: SpikeTimes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    avg_pool: int = 1,
    threshold: float | Tensor = 1.0,
    decay: float = 1.0,
    surrogate: Surrogate = _TRIANGLE,
    synaptic_decay: float = 0.0,
    shortcut: SpikeTimes | None = None,
    shortcut_scale: float | Tensor = 1.0,
) -> SpikeTimes:
    """Fire by a fully connected layer: neurons with the current X[t] = W s[t] + bias fire once.

    Parameters
    ----------
    spikes : [B, N], or a map [B, C, H, W] that is average-pooled by `avg_pool` (a remainder is cropped) and then flattened in
        the order C, H, W to N = C (H // avg_pool) (W // avg_pool).
    weight : float32 [O, N].
    bias : float32 [O], a current added in every step.
    avg_pool : side of the average pool; 1 pools nothing.
    threshold : > 0, a number, or a tensor [O], one per output and differentiable. With a tensor, the current is X / threshold,
        a neuron fires at V = 1, and the surrogate takes V - 1.
    decay : in (0, 2].
    surrogate : the derivative of the firing step in the backward pass, from `firstspike.surrogate`; by default `triangle()`.
    synaptic_decay : a in [0, 1], where I[t] = a I[t-1] + X[t] and V[t] = decay V[t-1] + I[t]. At 0 a spike's current lasts one
        step. At 1 it stays on: with decay 1 a spike at t then counts t' - t + 1 times at t' (a ramp). Above 0 on the CPU alone.
    shortcut : SpikeTimes [B, M], M <= O; a spike of its neuron i adds `shortcut_scale` to the current of output i. It needs
        avg_pool = 1.
    shortcut_scale : a number, or a differentiable tensor [1], [M], or [O] of which the first M count.

    Returns
    -------
    SpikeTimes [B, O].

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[0, 2, 255]], dtype=torch.uint8), steps=4)
    >>> linear(spikes, torch.tensor([[0.6, 0.6, 9.0]])).times
    tensor([[2]], dtype=torch.uint8)
    """
    spikes, weight = _spikes(spikes, 2, 4), checks.float32("weight", weight, 2)
    sizes = Sizes(avg_pool)
    settings = threshold, decay, surrogate, shortcut, shortcut_scale
    return fire_layer(spikes, weight, bias, sizes, *settings, synaptic_decay=synaptic_decay)[0]


def conv2d(
    spikes: SpikeTimes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    avg_pool: int = 1,
    threshold: float | Tensor = 1.0,
    decay: float = 1.0,
    surrogate: Surrogate = _TRIANGLE,
    synaptic_decay: float = 0.0,
    shortcut: SpikeTimes | None = None,
    shortcut_scale: float | Tensor = 1.0,
) -> SpikeTimes:
    """Fire by a convolution: neurons with the current X[t] = W * pool(s[t]) + bias fire once.

    Parameters
    ----------
    spikes : map [B, C, H, W], average-pooled by `avg_pool` first (a remainder is cropped).
    weight : float32 [O, C, kh, kw].
    bias : float32 [O].
    stride, padding : int or (vertical, horizontal).
    avg_pool : size of the average pool before the convolution; 1 pools nothing.
    threshold, decay, surrogate, synaptic_decay : as in `linear`.
    shortcut : map [B, M, H', W'] of the output's size, M <= O. A spike of its channel i adds `shortcut_scale` (as in `linear`)
        to the current of channel i at its place. In a larger map H x W every n-th row and column counts, with n = ceil(H / H')
        for rows and ceil(W / W') for columns. A shortcut needs a padding of at most (k - 1) / 2 for a kernel of size k.
    shortcut_scale : as in `linear`.

    Returns
    -------
    SpikeTimes [B, O, H', W'] with sizes as in torch.nn.functional.conv2d.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), steps=4)
    >>> conv2d(spikes, torch.ones(5, 3, 3, 3), padding=1, avg_pool=2).shape
    torch.Size([2, 5, 4, 4])
    """
    spikes, weight = _spikes(spikes, 4), checks.float32("weight", weight, 4)
    sizes = Sizes(avg_pool, checks.pair("stride", stride, 1), checks.pair("padding", padding, 0))
    settings = threshold, decay, surrogate, shortcut, shortcut_scale
    return fire_layer(spikes, weight, bias, sizes, *settings, synaptic_decay=synaptic_decay)[0]


def integrate(
    spikes: SpikeTimes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    avg_pool: int = 1,
    decay: float = 1.0,
    synaptic_decay: float = 0.0,
) -> Tensor:
    """Integrate spikes in neurons that never fire, the readout: V[t] = decay V[t-1] + W s[t] + bias.

    Parameters
    ----------
    spikes, weight, bias, avg_pool, decay, synaptic_decay : as in `linear`.

    Returns
    -------
    float32 [T, B, O].

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[0, 2]], dtype=torch.uint8), steps=3)
    >>> integrate(spikes, torch.tensor([[0.5, 2.0]])).flatten()
    tensor([0.5000, 0.5000, 2.5000])
    """
    spikes, weight = _spikes(spikes, 2, 4), checks.float32("weight", weight, 2)
    return integrate_layer(spikes, weight, bias, Sizes(avg_pool), decay, synaptic_decay)


def earliest(a: SpikeTimes, b: SpikeTimes) -> SpikeTimes:
    """Return the earlier of two spikes, neuron by neuron: each neuron fires as soon as one of the two does.

    Parameters
    ----------
    a, b : SpikeTimes of the same shape [B, ...], steps and device. Where both fire in the same step, or both are silent, the
        spike of `a` is taken. The gradient goes to the spike that was taken.

    Examples
    --------
    >>> a, b = (SpikeTimes(torch.tensor([t], dtype=torch.uint8), steps=4) for t in ([0, 3], [2, 255]))
    >>> earliest(a, b).times
    tensor([[0, 3]], dtype=torch.uint8)
    """
    for name, spikes in (("a", a), ("b", b)):
        checks.instance(name, spikes, SpikeTimes, "SpikeTimes")
    if a.shape != b.shape or a.steps != b.steps:
        raise ValueError(f"a and b must have the same shape and steps, got {a} and {b}")
    checks.same_device("a", a.times, "b", b.times)
    first = a.times <= b.times
    times = torch.minimum(a.times, b.times)
    if a._anchor is None and b._anchor is None:
        return SpikeTimes._trusted(times, a.steps)
    zero = torch.zeros((), dtype=torch.float32, device=times.device).expand(a.steps, *a.shape)
    first_anchor, second_anchor = (zero if anchor is None else anchor for anchor in (a._dense_anchor(), b._dense_anchor()))
    return SpikeTimes._trusted(times, a.steps, torch.where(first, first_anchor, second_anchor))


def dropout(spikes: SpikeTimes, p: float, *, seed: Tensor | None = None) -> SpikeTimes:
    """Drop spikes at random: a neuron is made silent with probability `p`, the others keep their times.

    Parameters
    ----------
    spikes : [B, ...].
    p : from 0 to 1, rounded to 1/65536.
    seed : int64 [1] on the spikes' device, by default drawn from torch's generator. Seed and place of a neuron alone decide
        whether its spike is dropped.

    Returns
    -------
    SpikeTimes of the same shape; only neurons that stay send a gradient back. The mean current of the next layer is smaller by
        the factor 1 - p; the layers of `firstspike.nn` divide their weight by it.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(1, 1000, dtype=torch.uint8), steps=4)
    >>> 400 < int(dropout(spikes, 0.5, seed=torch.tensor([0])).count()) < 600
    True
    """
    checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes")
    if 0 in spikes.shape[1:]:
        raise ValueError(f"spikes must have neurons, got shape {tuple(spikes.shape)}")
    keep = ops.dropout.levels(1 - checks.real("p", p, 0.0, 1.0))
    if seed is None:
        seed = torch.randint(1 << 62, (1,), device=spikes.device)
    elif not isinstance(seed, Tensor) or seed.dtype != torch.int64 or seed.numel() != 1:
        raise TypeError(f"seed must be an int64 tensor of one element, got {seed!r}")
    checks.same_device("spikes", spikes.times, "seed", seed)
    if portable.serves(spikes.device) and spikes._support is None:
        return portable.dropped(spikes, keep, seed)
    if spikes._is_valued():  # an anchor of values is one of a single step
        values = anchor_to_sites(spikes._value_anchor()[None])  # type: ignore[index]
        anchor, left = ops.dropout.dropout(to_sites(spikes.times), values, None, None, seed, keep)
        return SpikeTimes._trusted(from_sites(left, spikes.shape), spikes.steps, from_sites(anchor, spikes.shape)[0])
    anchor, left = ops.dropout.dropout(*input_of(spikes), seed, keep)
    return thinned(spikes, anchor, left)


def normalize_weight(weight: Tensor, deviation: float, gamma: Tensor | None = None, *, granularity: str = "layer") -> Tensor:
    """Normalise a weight, with affine: (W - mean) / std * deviation * gamma (arXiv 2410.23619, Eq. 16 and 17).

    Parameters
    ----------
    weight : float32 [O, ...], of at least two dimensions and one element.
    deviation : > 0.
    gamma : float32 [O], or [1] for all outputs.
    granularity : mean and std (biased) are over the whole weight ("layer"), or over the weights of each output ("channel").

    Returns
    -------
    the weight that acts, in the shape of `weight`.

    Examples
    --------
    >>> normal = normalize_weight(torch.randn(20, 30), 0.5)
    >>> round(float(normal.std(correction=0)), 4), abs(round(float(normal.mean()), 4))
    (0.5, 0.0)
    """
    weight = checks.float32("weight", weight)
    if weight.dim() < 2 or weight.numel() == 0:
        raise ValueError(f"weight must have shape [outputs, inputs, ...] without a zero, got {tuple(weight.shape)}")
    deviation = checks.real("deviation", deviation, 0.0, open_low=True)
    checks.one_of("granularity", granularity, GRANULARITIES)
    if gamma is not None:
        gamma = checks.float32("gamma", gamma, 1)
        if len(gamma) not in (1, len(weight)):
            raise ValueError(f"gamma must have 1 or {len(weight)} elements, one per output, got {len(gamma)}")
        checks.same_device("weight", weight, "gamma", gamma)
        gamma = gamma.expand(len(weight))
    normal: Tensor = ops.normalize.normalize_weight(weight, gamma, deviation, granularity == "channel")[0]
    return normal


def fire(
    current: Tensor,
    *,
    threshold: float = 1.0,
    decay: float = 1.0,
    surrogate: Surrogate = _TRIANGLE,
    synaptic_decay: float = 0.0,
) -> Tensor:
    """Fire on dense currents, in any network: V[t] = decay V[t-1] + current[t], and each neuron fires at most once.

    Parameters
    ----------
    current : float32 [T, B, ...].
    threshold : > 0.
    decay, surrogate, synaptic_decay : as in `linear`.

    Returns
    -------
    float32 spikes of the same shape, zeros and ones.

    Examples
    --------
    >>> fire(torch.tensor([[[0.6]], [[0.6]], [[5.0]]])).flatten()  # V = 0.6, 1.2: fires at 1, and once
    tensor([0., 1., 0.])
    """
    current = checks.float32("current", current)
    if current.dim() < 2 or current.shape[0] < 1:
        raise ValueError(f"current must have shape [steps, batch, ...] with at least one step, got {tuple(current.shape)}")
    neuron = neuron_of(threshold, decay, surrogate, len(current), synaptic_decay)
    fired: Tensor = ops.fire.fire(current.contiguous(), neuron)
    return fired


def _spikes(spikes: SpikeTimes, *dims: int) -> SpikeTimes:
    checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes, as of encode.latency or SpikeTimes.from_dense")
    if len(spikes.shape) not in dims:
        expected = " or ".join({2: "[batch, neurons]", 4: "[batch, channels, height, width]"}[d] for d in dims)
        raise ValueError(f"spikes must have shape {expected}, got {tuple(spikes.shape)}")
    return spikes
