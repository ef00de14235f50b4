"""Initialisers of a layer's weight (docs/model.md, section "Initialisation").

N is the fan-in: the number of weights per output, C k k for a convolution.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Generator, Tensor

from ._base import checks


def ettfs_(weight: Tensor, steps: int, *, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """ETTFS-init (arXiv 2410.23619, Eq. 14), in place: U(-a, a) with a = gain sqrt(3 T / N), variance gain^2 T / N.

    Why T / N: N inputs that fire once each, uniformly over T steps, give Var(PSC[t]) = N (T / N) / T = 1 in every step.

    Parameters
    ----------
    weight : float [O, ...].
    steps : T, 1 to 254.
    gain : 1 in the paper. Where that derivation does not hold the layers of `firstspike.nn` have another (ours): `firing_gain`
        where spikes come in and go out; 1 / sqrt(T) in layers that integrate, with a synaptic current `synaptic_gain`;
        1 / sqrt(T) times `synaptic_gain` with direct coding.
    generator : of the random draws; by default torch's.

    Examples
    --------
    >>> weight = ettfs_(torch.empty(500, 400), steps=8)
    >>> round(float(weight.var() * 400 / 8), 1)
    1.0
    """
    fan_in = _fan_in(weight)
    bound = checks.real("gain", gain, 0.0, open_low=True) * math.sqrt(3 * checks.steps(steps) / fan_in)
    return _uniform(weight, bound, generator)


def pool_gain(avg_pool: int, steps: int) -> float:
    """The gain after k x k average pooling (ours): 1 / sqrt((1 - 1/T) / k^2 + 1/T), from 1 (T = 1) to k (many steps).

    Of k^2 neurons that fire once each, uniformly and independently over T steps, a number n fires in step t, and the pooled
    input is n / k^2, with E[(n / k^2)^2] = ((1 - 1/T) / k^2 + 1/T) / T in place of 1 / T.

    Parameters
    ----------
    avg_pool : k.
    steps : T, 1 to 254.

    Examples
    --------
    >>> pool_gain(2, steps=1), round(pool_gain(2, steps=8), 3)
    (1.0, 1.706)
    """
    factor, steps = checks.size("avg_pool", avg_pool), checks.steps(steps)
    return 1 / math.sqrt((1 - 1 / steps) / factor**2 + 1 / steps)


def synaptic_gain(steps: int, decay: float = 1.0, synaptic_decay: float = 0.0, *, constant: bool = False) -> float:
    """The gain with a synaptic current (ours): the last potential has the variance 1.

    k steps after its spike an input has added K(k) = sum over i = 0 .. k of a^i decay^(k-i), so that with uniform times
    Var(V[T-1]) = N v (K(0)^2 + ... + K(T-1)^2) / T. The gain is 1 / sqrt(sum of K(k)^2), for the ramp, a = decay = 1, sqrt(6 /
    (T (T + 1) (2T + 1))); and 1 for a = 0, where ETTFS-init gives the current of each step the variance 1.

    Parameters
    ----------
    steps : T, 1 to 254.
    decay : in (0, 2].
    synaptic_decay : a, in [0, 1].
    constant : of an input that enters in every step, whose last potential is the sum of K; the gain sum of decay^k / sum of
        K(k) makes it as large as for a = 0, 2 / (T + 1) for the ramp.

    Examples
    --------
    >>> ramp, constant = synaptic_gain(8, synaptic_decay=1.0), synaptic_gain(8, synaptic_decay=1.0, constant=True)
    >>> synaptic_gain(8), round(ramp, 4), round(constant, 4)
    (1.0, 0.07, 0.2222)
    """
    steps, decay = checks.steps(steps), checks.decay(decay, steps)
    if checks.synaptic_decay(synaptic_decay) == 0:
        return 1.0
    alone = current = 1.0
    without = total = squares = potential = 0.0
    for _ in range(steps):
        potential = decay * potential + current
        without, total, squares = without + alone, total + potential, squares + potential**2
        alone, current = alone * decay, current * synaptic_decay
    return float(without / total if constant else squares**-0.5)


def firing_gain(avg_pool: int, steps: int, decay: float = 1.0, synaptic_decay: float = 0.0) -> float:
    """The gain of a layer that gets spikes and fires (ours): `pool_gain`, with a synaptic current times 4.02 `synaptic_gain`.

    Where a share p of the inputs fires, the last potential has the variance g^2 p with g the factor of `synaptic_gain`. A share
    Q(1 / (g sqrt(p))) of such normal potentials reaches the threshold 1. For g = 4.02 a third of the inputs lets a third of
    the neurons fire. For g below 2.46 fewer neurons fire than inputs, whatever p is: spikes fade from layer to layer.

    Parameters
    ----------
    avg_pool : k.
    steps : T, 1 to 254.
    decay, synaptic_decay : of the layer.

    Examples
    --------
    >>> firing_gain(1, 8), round(firing_gain(1, 8, synaptic_decay=1.0) / synaptic_gain(8, synaptic_decay=1.0), 3)
    (1.0, 4.021)
    """
    share = 1 / 3
    factor = 1.0 if synaptic_decay == 0 else 1 / (math.sqrt(share) * NormalDist().inv_cdf(1 - share))
    return factor * pool_gain(avg_pool, steps) * synaptic_gain(steps, decay, synaptic_decay)


def bias_scale(steps: int, decay: float = 1.0, synaptic_decay: float = 0.0) -> float:
    """The factor of a layer's beta (ours): 1, and with a synaptic current the power of two nearest to its constant gain.

    beta is a constant current. Without the factor a step of the optimizer would move the last potential of a ramp (T + 1) / 2
    times as far as for a = 0, across many thresholds; a power of two keeps the bits of beta.

    Parameters
    ----------
    steps : T, 1 to 254.
    decay, synaptic_decay : of the layer.

    Examples
    --------
    >>> bias_scale(32), bias_scale(32, synaptic_decay=1.0)
    (1.0, 0.0625)
    """
    return float(2.0 ** round(math.log2(synaptic_gain(steps, decay, synaptic_decay, constant=True))))


def kaiming_(weight: Tensor, *, generator: Generator | None = None) -> Tensor:
    """True He initialisation for ReLU (He et al. 2015, Eq. 10), in place: U(-a, a), a = sqrt(6 / N), variance 2 / N.

    With TTFS neurons Var(PSC[t]) = 2 / T at best: the signal fades as T grows.

    Parameters
    ----------
    weight : float [O, ...].
    generator : of the random draws; by default torch's.

    Examples
    --------
    >>> round(float(kaiming_(torch.empty(500, 400)).var() * 400), 1)
    2.0
    """
    return _uniform(weight, math.sqrt(6 / _fan_in(weight)), generator)


def torch_default_(weight: Tensor, *, generator: Generator | None = None) -> Tensor:
    """What `torch.nn.Linear` and `Conv2d` draw (`kaiming_uniform_`, a = sqrt 5), in place: U(-a, a), a = sqrt(1 / N).

    The variance is 1 / (3 N), so Var(PSC[t]) = 1 / (3 T) at best.

    Parameters
    ----------
    weight : float [O, ...].
    generator : of the random draws; by default torch's.

    Examples
    --------
    >>> float(torch_default_(torch.empty(500, 400)).abs().max()) <= 0.05
    True
    """
    return _uniform(weight, math.sqrt(1 / _fan_in(weight)), generator)


def _uniform(weight: Tensor, bound: float, generator: Generator | None) -> Tensor:
    checks.optional("generator", generator, Generator, "a torch.Generator")
    with torch.no_grad():
        return weight.uniform_(-bound, bound, generator=generator)


def _fan_in(weight: Tensor) -> int:
    checks.instance("weight", weight, Tensor, "a torch.Tensor")
    if not weight.is_floating_point():
        raise TypeError(f"weight must be floating point, got {weight.dtype}")
    if weight.dim() < 2 or weight.numel() == 0:
        raise ValueError(f"weight must have shape [outputs, inputs, ...], none of them 0, got {tuple(weight.shape)}")
    return weight[0].numel()
