"""The readable float64 reference of every fused function: plain torch, a loop over the steps, autograd, float32 or float64.

Names and arguments are those of `firstspike.functional`, `firstspike.encode` and `firstspike.decode`; a call takes a
`SpikeTrain` (or `SpikeTimes`) and returns a `SpikeTrain`, which holds all T steps and thereby its own gradient. It
computes in the float type of the weight or current that it is given. Slow on purpose: tests compare with it. To stay
readable it does not check its arguments; the fused functions of the same names do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ._base.checks import SILENT
from ._base.geometry import pixels
from .ops._operator import first_order_only
from .surrogate import Surrogate, triangle


@dataclass(frozen=True)
class SpikeTrain:
    """Spikes of a population in which every neuron fires at most once.

    ``train`` is [T, B, ...] float, 1 at the step in which a neuron fires, else 0. Gradients flow through it.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[1, 255]], dtype=torch.uint8), 3)
        >>> x.train[:, 0].tolist(), x.times.tolist()
        ([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], [[1, 255]])
    """

    train: Tensor

    @classmethod
    def from_times(cls, times: Tensor, steps: int, dtype: torch.dtype = torch.float64) -> SpikeTrain:
        """Train of uint8 ``times`` [B, ...], 0..steps-1 or 255 = silent."""
        clock = torch.arange(steps).reshape(-1, *[1] * times.dim())
        return cls((times.long() == clock).to(dtype))

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return self.train.shape[0]

    @property
    def shape(self) -> torch.Size:
        """[B, ...], without the steps."""
        return self.train.shape[1:]

    @property
    def times(self) -> Tensor:
        """uint8 [B, ...]: the step of each neuron's spike, 255 where it is silent."""
        clock = torch.arange(self.steps).reshape(-1, *[1] * len(self.shape))
        fired = self.train.detach() > 0
        first = torch.where(fired, clock, SILENT).amin(0)
        return first.to(torch.uint8)

    @property
    def silent(self) -> Tensor:
        """Bool [B, ...]: neurons that never fire."""
        return (self.train.detach() == 0).all(0)

    def dense(self) -> Tensor:
        """[T, B, ...], differentiable."""
        return self.train


def surrogate_derivative(u: Tensor, surrogate: Surrogate) -> Tensor:
    """Derivative that replaces the step function's at ``u`` = V - threshold; any shape and float type.

    Examples:
        >>> reference.surrogate_derivative(torch.tensor([-2.0, -0.5, 0.0]), surrogate.triangle(1.0))
        tensor([0.0000, 0.5000, 1.0000])
    """
    scale = surrogate.scale
    if surrogate.kind == "triangle":
        return (1 - u.abs() / scale).clamp(min=0) / scale
    if surrogate.kind == "rectangle":
        return (u.abs() < scale / 2).to(u.dtype) / scale
    if surrogate.kind == "atan":
        return scale / 2 / (1 + (math.pi / 2 * scale * u) ** 2)
    return scale * torch.sigmoid(scale * u) * torch.sigmoid(-scale * u)


class _Step(torch.autograd.Function):
    """H(u), with the surrogate's derivative."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u >= 0).to(u.dtype)

    @staticmethod
    @first_order_only
    def backward(ctx: Any, saved: tuple[Tensor], grad: Tensor) -> tuple[Tensor, None]:
        (u,) = saved
        return grad * surrogate_derivative(u, ctx.surrogate), None


def membrane(current: Tensor, decay: float = 1.0, synaptic_decay: float = 0.0) -> Tensor:
    """Membrane V [T, B, ...] of a neuron that never fires, from the current X [T, B, ...] that enters it.

    Examples:
        >>> current = torch.tensor([0.5, 0.75, 0.5]).view(3, 1, 1)
        >>> reference.membrane(current, decay=0.5).flatten()
        tensor([0.5000, 1.0000, 1.0000])
        >>> reference.membrane(current, synaptic_decay=1.0).flatten()
        tensor([0.5000, 1.7500, 3.5000])
    """
    v = i = torch.zeros_like(current[0])
    potentials = []
    for x in current:
        i = synaptic_decay * i + x
        v = decay * v + i
        potentials.append(v)
    return torch.stack(potentials)


def fire(
    current: Tensor,
    *,
    threshold: float = 1.0,
    decay: float = 1.0,
    surrogate: Surrogate = triangle(),
    synaptic_decay: float = 0.0,
) -> Tensor:
    """Dense spikes [T, B, ...] of a current [T, B, ...]; the flag that a neuron has fired carries no gradient.

    Examples:
        >>> current = torch.tensor([0.5, 0.75, 0.5]).view(3, 1, 1)
        >>> reference.fire(current).flatten()
        tensor([0., 1., 0.])
    """
    fired = torch.zeros_like(current[0])
    spikes = []
    for v in membrane(current, decay, synaptic_decay):
        spike = _Step.apply(v - threshold, surrogate) * (1 - fired)  # type: ignore[no-untyped-call]
        fired = fired + spike.detach()
        spikes.append(spike)
    return torch.stack(spikes)


def margin(
    current: Tensor,
    *,
    threshold: float = 1.0,
    decay: float = 1.0,
    levels: tuple[float, ...] = (0.0,),
    synaptic_decay: float = 0.0,
) -> Tensor:
    """How clear each neuron's decisions are: the smallest distance of V - threshold from any of ``levels``, [B, ...].

    Taken over the steps up to the spike (all steps of a silent neuron). With levels = (0,), a neuron of margin 1e-4
    fires at the same step in any arithmetic whose membrane is right to 1e-4; further levels are jumps of a surrogate.

    Examples:
        >>> current = torch.tensor([0.5, 0.75, 0.5]).view(3, 1, 1)
        >>> reference.margin(current)
        tensor([[0.2500]])
    """
    u = membrane(current.detach(), decay, synaptic_decay) - threshold
    distance = torch.stack([(u - level).abs() for level in levels]).amin(0)
    before = torch.cat([torch.zeros_like(u[:1]), (u >= 0).to(u.dtype).cumsum(0)[:-1]])
    return distance.masked_fill(before > 0, float("inf")).amin(0)


class _Spikes(Protocol):
    """``SpikeTrain`` or ``SpikeTimes``: whatever has a dense form."""

    def dense(self) -> Tensor:
        """Float [T, B, ...]."""
        ...


def _pool(x: Tensor, size: int) -> Tensor:
    """Average over size x size windows of x [T, B, C, H, W]; rows and columns that fill no window are dropped."""
    if size == 1:
        return x
    return torch.unflatten(F.avg_pool2d(x.flatten(0, 1), size), 0, x.shape[:2])


def linear_current(spikes: _Spikes, weight: Tensor, bias: Tensor | None = None, *, avg_pool: int = 1) -> Tensor:
    """Current [T, B, O] of a fully connected layer.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4)
        >>> weight = torch.tensor([[0.6, 0.6, 5.0]], dtype=torch.float64)
        >>> reference.linear_current(x, weight)[:, 0, 0].tolist()
        [0.6, 0.0, 0.6, 0.0]
    """
    x = _pool(spikes.dense().to(weight.dtype), avg_pool).flatten(2)
    current = x @ weight.T
    return current if bias is None else current + bias


def conv2d_current(
    spikes: _Spikes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    avg_pool: int = 1,
) -> Tensor:
    """Current [T, B, O, H', W'] of a convolution.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.zeros(1, 1, 3, 3, dtype=torch.uint8), 4)
        >>> weight = torch.full((2, 1, 2, 2), 0.5, dtype=torch.float64)
        >>> reference.conv2d_current(x, weight).shape
        torch.Size([4, 1, 2, 2, 2])
    """
    x = _pool(spikes.dense().to(weight.dtype), avg_pool)
    if weight.shape[2:] == (1, 1):
        stride, padding = ((n, n) if isinstance(n, int) else n for n in (stride, padding))
        return F.linear(pixels(x, stride, padding).movedim(2, -1), weight.flatten(1), bias).movedim(-1, 2)
    current = F.conv2d(x.flatten(0, 1), weight, bias, stride, padding)
    return torch.unflatten(current, 0, x.shape[:2])


def ramp(current: Tensor, steps: int, **neuron: Any) -> SpikeTrain:
    """Direct coding: the constant current [B, ...] enters in every one of ``steps`` steps; neuron: as in `fire`.

    Examples:
        >>> reference.ramp(torch.tensor([[1.0, 0.3, 0.1]]), 4).times.tolist()
        [[0, 3, 255]]
    """
    return SpikeTrain(fire(torch.stack([current] * steps), **neuron))


def linear(
    spikes: _Spikes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    avg_pool: int = 1,
    **neuron: Any,
) -> SpikeTrain:
    """Fully connected layer of neurons: spikes [B, N], or a map [B, C, H, W] pooled and flattened; weight [O, N].

    neuron: threshold, a number or [O], shortcut and shortcut_scale as in `functional.linear`; the rest as in `fire`.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4)
        >>> weight = torch.tensor([[0.6, 0.6, 5.0]], dtype=torch.float64)
        >>> reference.linear(x, weight).times.tolist()
        [[2]]
    """
    return _fired(linear_current(spikes, weight, bias, avg_pool=avg_pool), **neuron)


def conv2d(
    spikes: _Spikes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    avg_pool: int = 1,
    **neuron: Any,
) -> SpikeTrain:
    """Convolution of a map [B, C, H, W], pooled first, with weight [O, C, kh, kw]; neuron: as in `linear`.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.zeros(1, 1, 3, 3, dtype=torch.uint8), 4)
        >>> weight = torch.full((2, 1, 2, 2), 0.5, dtype=torch.float64)
        >>> reference.conv2d(x, weight).times.unique()
        tensor([0], dtype=torch.uint8)
    """
    current = conv2d_current(spikes, weight, bias, stride=stride, padding=padding, avg_pool=avg_pool)
    return _fired(current, **neuron)


def _fired(
    current: Tensor,
    threshold: float | Tensor = 1.0,
    shortcut: _Spikes | None = None,
    shortcut_scale: float | Tensor = 1.0,
    **neuron: Any,
) -> SpikeTrain:
    """Spikes of the current [T, B, O, ...] with a shortcut's spikes added, in units of thresholds [O]."""
    per_channel = (-1, *[1] * (current.dim() - 3))
    if shortcut is not None:
        x = shortcut.dense().to(current.dtype)
        if current.dim() == 5:  # every n-th row and column of a larger map
            rows, columns = (max(1, -(-x.shape[i] // current.shape[i])) for i in (-2, -1))
            x = x[..., ::rows, ::columns]
        scale = shortcut_scale
        if isinstance(scale, Tensor) and scale.dim():  # of one per output the shortcut's channels count
            scale = (scale if len(scale) == 1 else scale[: x.shape[2]]).view(per_channel)
        x = x * scale
        rest = current.shape[2] - x.shape[2]
        current = current + F.pad(x, (*[0, 0] * (current.dim() - 3), 0, rest))
    if isinstance(threshold, Tensor) and threshold.dim():
        current, threshold = current / threshold.view(per_channel), 1.0
    return SpikeTrain(fire(current, threshold=float(threshold), **neuron))


def integrate(
    spikes: _Spikes,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    avg_pool: int = 1,
    decay: float = 1.0,
    synaptic_decay: float = 0.0,
) -> Tensor:
    """Readout membrane [T, B, O] of a layer that never fires.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4)
        >>> weight = torch.tensor([[0.6, 0.6, 5.0]], dtype=torch.float64)
        >>> reference.integrate(x, weight)[:, 0, 0].tolist()
        [0.6, 0.6, 1.2, 1.2]
    """
    return membrane(linear_current(spikes, weight, bias, avg_pool=avg_pool), decay, synaptic_decay)


def dropout(spikes: _Spikes, p: float, *, seed: Tensor) -> SpikeTrain:
    """Spikes without the dropped ones; the random numbers are those of SplitMix64, 16 bits per neuron.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.zeros(1, 1000, dtype=torch.uint8), 4)
        >>> 400 < int(reference.dropout(x, 0.5, seed=torch.tensor(1)).train.sum()) < 600
        True
    """
    x = spikes.dense()
    return SpikeTrain(x * ~lost(x.shape[1:], round((1 - p) * 65536), seed))


def lost(shape: Sequence[int], keep: int, seed: Tensor) -> Tensor:
    """Which neurons [B, N] or [B, C, H, W] `dropout` makes silent, bool; keep: the share that stays, out of 65536.

    Examples:
        >>> reference.lost((1, 4), 32768, torch.tensor([1]))
        tensor([[False,  True, False,  True]])
    """
    batch, channels, *size = shape if len(shape) == 4 else (shape[0], math.prod(shape[1:]))
    quads = -(-channels // 4)
    draws = torch.arange(1, batch * math.prod(size) * quads + 1, device=seed.device)
    lots = _split_mix(seed + draws * _signed(0x9E3779B97F4A7C15))
    numbers = torch.stack([lots >> 16 * lane & 0xFFFF for lane in range(4)], -1)
    sites = numbers.view(batch, *size, 4 * quads)[..., :channels] >= keep
    return sites.movedim(-1, 1).reshape(tuple(shape))


def _split_mix(x: Tensor) -> Tensor:
    """The output function of SplitMix64, on int64 in place of uint64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        x = (x ^ x >> shift & (1 << 64 - shift) - 1) * _signed(factor)
    return x


def _signed(x: int) -> int:
    """The int64 with the bits of a uint64."""
    return x - (x >> 63 << 64)


def normalize_weight(weight: Tensor, deviation: float, gamma: Tensor | None = None, *, granularity: str = "layer") -> Tensor:
    """(W - mean) / std * deviation * gamma; gamma [O] or [1].

    Mean and std (biased) are over the whole weight [O, ...], or per output with granularity "channel".

    Examples:
        >>> weight = reference.normalize_weight(torch.rand(4, 3), 0.5)
        >>> torch.allclose(weight.std(correction=0), torch.tensor(0.5)), weight.mean().abs() < 1e-6
        (True, tensor(True))
    """
    over = tuple(range(1 if granularity == "channel" else 0, weight.dim()))
    from_mean = weight - weight.mean(over, keepdim=True)
    normal = from_mean / (from_mean.square().mean(over, keepdim=True) + 1e-12).sqrt() * deviation
    return normal if gamma is None else normal * gamma.view(-1, *[1] * (weight.dim() - 1))


def _time(x: float, steps: int, curve: str) -> int:
    """Time of one value: 1 at step 0, the smallest ones at steps - 1, and 0 never."""
    if x == 0:
        return SILENT
    return round((1 - x if curve == "linear" else min(1.0, math.log(x) / math.log(1 / 255))) * (steps - 1))


def latency(x: Tensor, steps: int, curve: str = "linear") -> SpikeTrain:
    """Spikes [B, ...] of values x [B, ...] in [0, 1]: the brighter, the earlier; zero stays silent.

    curve "linear": time = round((1 - x) (steps - 1)), halves to even. "log": 1 - x becomes ln x / ln(1/255), at most 1.

    Examples:
        >>> reference.latency(torch.tensor([[1.0, 0.5, 0.0]]), 8).times.tolist()
        [[0, 4, 255]]
    """
    times = [_time(value, steps, curve) for value in x.flatten().tolist()]
    return SpikeTrain.from_times(torch.tensor(times, dtype=torch.uint8).reshape(x.shape), steps)


def temporal_weighting(spikes: _Spikes, *, gamma: float, mode: str = "exp") -> Tensor:
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


def decode_membrane(v: Tensor, mode: str = "last") -> Tensor:
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


def first_spike(spikes: _Spikes, overshoot: Tensor | None = None) -> Tensor:
    """Class [B] whose neuron fires first; a tie goes to the larger overshoot [B, C], then to the lower index.

    Where no neuron fires, all of them tie.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[2, 1, 1]], dtype=torch.uint8), 4)
        >>> reference.first_spike(x), reference.first_spike(x, torch.tensor([[0.0, 0.1, 0.2]]))
        (tensor([1]), tensor([2]))
    """
    train = spikes.dense().detach()
    steps, batch, classes = train.shape
    over = torch.zeros(batch, classes) if overshoot is None else overshoot
    chosen = []
    for b in range(batch):
        times = [next((t for t in range(steps) if train[t, b, c]), steps) for c in range(classes)]
        chosen.append(min(range(classes), key=lambda c: (times[c], -float(over[b, c]), c)))
    return torch.tensor(chosen, dtype=torch.int64)


def population(scores: Tensor, classes: int) -> Tensor:
    """Scores [B, classes], each the mean of its k neighbouring outputs in scores [B, classes * k].

    Examples:
        >>> reference.population(torch.tensor([[1.0, 3.0, 5.0, 5.0]]), 2)
        tensor([[2., 5.]])
    """
    k = scores.shape[1] // classes
    return torch.stack([scores[:, c * k : (c + 1) * k].sum(1) / k for c in range(classes)], 1)


def decision_step(spikes: _Spikes) -> Tensor:
    """Step [B] int64 of the first output spike; T where there is none.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[2, 1], [255, 255]], dtype=torch.uint8), 4)
        >>> reference.decision_step(x)
        tensor([1, 4])
    """
    train = spikes.dense().detach()
    steps, batch = train.shape[:2]
    return torch.tensor([next((t for t in range(steps) if train[t, b].any()), steps) for b in range(batch)])


def ties(spikes: _Spikes, classes: int | None = None) -> Tensor:
    """Bool [B]: the first output step has spikes of more than one class; k neighbouring outputs make a class.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[1, 1], [1, 2]], dtype=torch.uint8), 4)
        >>> reference.ties(x)
        tensor([ True, False])
    """
    train = spikes.dense().detach()
    steps, _batch, outputs = train.shape
    k = 1 if classes is None else outputs // classes
    first = enumerate(decision_step(spikes).tolist())
    return torch.tensor([t < steps and len({c // k for c in range(outputs) if train[t, b, c]}) > 1 for b, t in first])


def windowed_values(spikes: Any, *, avg_pool: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values (T - t) / T of spikes t, 0 where silent; averaged over windows.

    Examples
    --------
    >>> reference.windowed_values(SpikeTimes(torch.tensor([[0, 3, 255]], dtype=torch.uint8), steps=4)).tolist()
    [[1.0, 0.25, 0.0]]
    """
    values = ((spikes.steps - spikes.times.to(dtype)) / spikes.steps).masked_fill(spikes.silent, 0.0)
    return values if avg_pool == 1 else F.avg_pool2d(values, avg_pool)


def window_level(
    current: Tensor,
    clip: Tensor,
    *,
    bias: Tensor | None = None,
    gamma: Tensor | None = None,
    moments: Tensor | None = None,
    eps: float = 1e-5,
    batch: bool = False,
) -> Tensor:
    """What `windowed_fire` rounds: the normalised current in units of the clip.

    With `batch`, the current [B, C] or [B, C, H, W] gives the moments.

    Examples
    --------
    >>> reference.window_level(torch.tensor([[2.0, 1.0]]), torch.tensor([2.0])).tolist()
    [[1.0, 0.5]]
    """

    def by_channel(x: Tensor) -> Tensor:
        return x.view(-1, *[1] * (current.dim() - 2))

    if batch:
        moments = channel_moments(current)
    if moments is not None:
        current = (current - by_channel(moments[0])) / (by_channel(moments[1]) + eps).sqrt()
        current = current if gamma is None else current * by_channel(gamma)
    current = current if bias is None else current + by_channel(bias)
    return current / by_channel(clip)


def channel_moments(current: Tensor) -> Tensor:
    """Mean and biased variance of each channel of a current [B, C] or [B, C, H, W], [2, C].

    Examples
    --------
    >>> reference.channel_moments(torch.tensor([[1.0, 2.0], [3.0, 2.0]])).tolist()
    [[2.0, 2.0], [1.0, 0.0]]
    """
    others = [d for d in range(current.dim()) if d != 1]
    return torch.stack([current.mean(others), current.var(others, correction=0)])


def windowed_fire(current: Tensor, clip: Tensor, steps: int, **parameters: Any) -> Tensor:
    """The values of neurons that fire in a separate window; their gradient is 1 / clip within the clip, 0 outside.

    As `functional.windowed_fire`; parameters: of `window_level`.

    Examples
    --------
    >>> reference.windowed_fire(torch.tensor([[2.0, 1.2, 0.1]]), torch.tensor([2.0]), steps=4).tolist()
    [[1.0, 0.5, 0.0]]
    """
    level = window_level(current, clip, **parameters)
    clipped = level.clamp(0, 1)
    rounded = (level * steps + 0.5).floor().clamp(0, steps) / steps
    return clipped + (rounded - clipped).detach()


def window_times(values: Tensor, steps: int) -> Tensor:
    """Spike times uint8 of values a / steps.

    Examples
    --------
    >>> reference.window_times(torch.tensor([[1.0, 0.25, 0.0]]), 4).tolist()
    [[0, 3, 255]]
    """
    a = (values.detach() * steps).round().long()
    return torch.where(a > 0, steps - a, SILENT).to(torch.uint8)  # NaN is silent


def window_steps(times: Tensor, weight: Tensor, bias: Tensor, rise: int, steps_in: int, steps: int) -> Tensor:
    """Times of a linear layer, step by step in integers: its input's window of `steps_in` steps, then its own of `steps`.

    A spike switches its weight's slope on; after its input's window the membrane holds weight (steps_in - t), summed. Then it
    rises by `rise` in each step, and fires where it is within half a rise of `rise` times `steps`.

    Parameters
    ----------
    times : Tensor
        uint8 [B, N], 255 where silent.
    weight, bias : Tensor
        int64 [O, N] and [O].
    rise : int
        Odd, so that no membrane stops halfway between two steps.

    Returns
    -------
    Tensor
        uint8 [B, O]: t = steps - clamp(floor((W a + bias) / rise + 1/2), 0, steps), a = steps_in - times; silent where t = steps.

    Examples
    --------
    >>> times = torch.tensor([[0, 3]], dtype=torch.uint8)  # levels 4 and 1
    >>> reference.window_steps(times, torch.tensor([[2, 1]]), torch.tensor([0]), rise=3, steps_in=4, steps=4)
    tensor([[1]], dtype=torch.uint8)
    """
    slope = torch.zeros(len(times), len(weight), dtype=torch.int64)
    membrane = bias.expand(len(times), -1).clone()
    for t in range(steps_in):
        slope += (times == t).long() @ weight.T
        membrane += slope
    fired = torch.full_like(membrane, SILENT, dtype=torch.uint8)
    for t in range(steps):
        reached = 2 * membrane + rise >= 2 * rise * (steps - t)
        fired = torch.where(reached & (fired == SILENT), t, fired.long()).to(torch.uint8)
    return fired
