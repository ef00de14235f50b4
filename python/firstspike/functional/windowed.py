"""Layers of windows: values of spike times, currents of them, and neurons that fire in a separate window.

Each layer integrates in its input's window and fires in its own (arXiv 2306.08744, in discrete time). A spike at t in a window of
T steps has the value (T - t) / T, silence 0, so that a layer is a clipped ReLU with T + 1 levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import ops
from .._base import checks
from .._base.geometry import geometry_of, pool_of
from ..ops.windowed import Neurons, Product, in_sites
from ..spikes import SpikeTimes
from . import portable
from .layer import full_precision


def windowed_values(spikes: SpikeTimes, *, avg_pool: int = 1) -> Tensor:
    """Return the values (T - t) / T of spike times t, 0 where silent.

    Parameters
    ----------
    spikes : SpikeTimes [B, N] or [B, C, H, W]
    avg_pool : int
        k: values are averaged over k x k units; a remainder at the lower and right edge is dropped.

    Returns
    -------
    Tensor
        float32 [B, N] or [B, C, H // k, W // k], differentiable.

    Examples
    --------
    >>> functional.windowed_values(SpikeTimes(torch.tensor([[0, 3, 255]], dtype=torch.uint8), steps=4))
    tensor([[1.0000, 0.2500, 0.0000]])
    """
    checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes")
    pool, shape = pool_of(spikes.shape, avg_pool), spikes.shape
    if portable.serves(spikes.device):
        return portable.values_of(spikes, pool)
    values: Tensor = ops.windowed.values(*valued_of(spikes), spikes.steps, pool)
    return values.permute(0, 3, 1, 2) if len(shape) == 4 else values


def windowed_encode(x: Tensor, steps: int = 255) -> SpikeTimes:
    """Return spikes whose values are `x`, rounded to steps + 1 levels: an image of 8 bits is exact with 255 steps.

    Parameters
    ----------
    x : Tensor
        float32 [B, ...], finite; values outside [0, 1] are clipped. uint8 counts as x / 255.
    steps : int
        Steps of the window, 1 to 255.

    Returns
    -------
    SpikeTimes
        Of the shape of `x`, t = steps - floor(steps x + 1/2), silent where that is `steps`. The gradient is straight-through.

    Examples
    --------
    >>> functional.windowed_encode(torch.tensor([[255, 254, 1, 0]], dtype=torch.uint8)).times
    tensor([[  0,   1, 254, 255]], dtype=torch.uint8)
    """
    if isinstance(x, Tensor) and x.dtype == torch.uint8:
        if steps == 255:
            return SpikeTimes._trusted(~x, 255)  # a pixel of 0 is silent
        x = x.float() / 255
    x = checks.float32("x", x)
    checks.finite("x", x)
    return encoded(x, checks.window(steps))


def encoded(x: Tensor, steps: int) -> SpikeTimes:
    """`windowed_encode` of float32 [B, ...], unchecked."""
    return fired_of(in_sites(x), Neurons(x.new_ones(1), steps))[0]


def windowed_fire(
    current: Tensor,
    clip: Tensor,
    steps: int,
    *,
    bias: Tensor | None = None,
    gamma: Tensor | None = None,
    moments: Tensor | None = None,
    eps: float = 1e-5,
) -> SpikeTimes:
    """Fire in a window: a neuron of level a = clamp(floor(T v / clip + 1/2), 0, T) fires at t = T - a, and is silent at a = 0.

    With `moments` v = gamma (current - mean) / sqrt(variance + eps) + bias, else v = current + bias. The gradient is
    straight-through: within [0, 1] it ignores the rounding of v / clip, and outside it is 0.

    Parameters
    ----------
    current : Tensor
        float32 [B, C] or [B, C, H, W], or of any shape [B, ...] where `bias`, `gamma` and `moments` are None.
    clip : Tensor
        float32 [1] or [C], positive: the value above which a neuron fires in the first step.
    steps : int
        T, 1 to 255.
    bias, gamma : Tensor
        float32 [C]; gamma only with `moments`.
    moments : Tensor
        float32 [2, C], mean and biased variance of the channels, without a gradient (`nn.WindowedLinear` normalises batches).
    eps : float
        Added to the variance, at least 0.

    Returns
    -------
    SpikeTimes
        Of the shape of `current`. The gradients of clip and gamma use the normalised currents in bfloat16, which take 2 bytes
        per neuron until the backward pass (docs/model.md, section "Gradient of windows").

    Examples
    --------
    >>> functional.windowed_fire(torch.tensor([[2.0, 1.2, 0.1]]), torch.tensor([2.0]), steps=4).times
    tensor([[  0,   2, 255]], dtype=torch.uint8)
    """
    current = checks.float32("current", current)
    parameters: dict[str, Tensor | None] = {"bias": bias, "gamma": gamma, "moments": moments}
    if current.dim() not in ((2, 4) if any(x is not None for x in parameters.values()) else range(2, 9)):
        raise ValueError(f"current must have shape [B, C] or [B, C, H, W], got {tuple(current.shape)}")
    if gamma is not None and moments is None:
        raise ValueError("gamma needs moments, the mean and variance by which currents are normalised")
    channels = current.shape[1] if current.dim() in (2, 4) else current.shape[-1]
    for name, x in {"clip": clip, **parameters}.items():
        if x is not None:
            shape = (2, channels) if name == "moments" else (channels,)
            if checks.float32(name, x).shape != shape and (name != "clip" or x.shape != (1,)):
                raise ValueError(f"{name} must have shape {list(shape)}, got {tuple(x.shape)}")
            checks.same_device("current", current, name, x)
    neurons = Neurons(clip, checks.window(steps), gamma, bias, moments, checks.real("eps", eps, 0.0))
    return fired_of(in_sites(current), neurons)[0]


def windowed_linear(spikes: SpikeTimes, weight: Tensor, *, avg_pool: int = 1) -> Tensor:
    """Return the current W x of the values x of spikes, see `windowed_values`.

    Parameters
    ----------
    spikes : SpikeTimes [B, N], or maps [B, C, H, W], averaged over k x k and flattened in the order C, H, W
    weight : Tensor
        float32 [O, N].
    avg_pool : int

    Returns
    -------
    Tensor
        float32 [B, O].

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[0, 3, 255]], dtype=torch.uint8), steps=4)
    >>> functional.windowed_linear(spikes, torch.tensor([[1.0, 4.0, 9.0]]))
    tensor([[2.]])
    """
    return current_of(spikes, checks.float32("weight", weight, 2), Product(checks.size("avg_pool", avg_pool)))


def windowed_conv2d(
    spikes: SpikeTimes,
    weight: Tensor,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    groups: int = 1,
    avg_pool: int = 1,
) -> Tensor:
    """Return the current of a convolution with the values of spikes, see `windowed_values`.

    Parameters
    ----------
    spikes : SpikeTimes [B, C, H, W], averaged over windows of avg_pool x avg_pool first
    weight : Tensor
        float32 [O, C / groups, kh, kw].
    stride, padding : int or (vertical, horizontal)
    groups, avg_pool : int

    Returns
    -------
    Tensor
        float32 [B, O, H', W'], sizes as of `torch.nn.functional.conv2d`.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), steps=4)
    >>> functional.windowed_conv2d(spikes, torch.ones(5, 3, 3, 3), padding=1, avg_pool=2).shape
    torch.Size([2, 5, 4, 4])
    """
    stride, padding = checks.pair("stride", stride, 1), checks.pair("padding", padding, 0)
    product = Product(checks.size("avg_pool", avg_pool), stride, padding, checks.integer("groups", groups, 1))
    return current_of(spikes, checks.float32("weight", weight, 4), product).permute(0, 3, 1, 2)


def current_of(spikes: SpikeTimes, weight: Tensor, product: Product, bias: Tensor | None = None) -> Tensor:
    """Currents [B, O], or in site order [B, H', W', O] with a weight of four dimensions; the spikes are checked."""
    weight = _checked(spikes, weight, product)
    with full_precision(weight.device):
        if portable.serves(weight.device):
            return portable.current_of(spikes, weight, product, bias)
        current: Tensor = ops.windowed.product(*valued_of(spikes), weight, bias, spikes.steps, *product)
    return current


def layer_of(spikes: SpikeTimes, weight: Tensor, product: Product, neurons: Neurons) -> tuple[SpikeTimes, Tensor]:
    """`fired_of` of `current_of` as one operator, with a gradient."""
    if portable.serves(weight.device):
        return fired_of(current_of(spikes, weight, product), neurons)
    weight = _checked(spikes, weight, product)
    with full_precision(weight.device):
        anchor, times, _, moments = ops.windowed.layer(*valued_of(spikes), weight, spikes.steps, *product, *neurons)
    return _spikes_of(anchor, times, neurons.steps), moments


def _checked(spikes: SpikeTimes, weight: Tensor, product: Product) -> Tensor:
    """The weight of a product that fits the spikes, in the type of autocast."""
    checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes")
    weight, groups = checks.float32("weight", weight), product.groups
    batch, channels, *size = spikes.shape
    if len(spikes.shape) not in ((4,) if weight.dim() == 4 else (2, 4)):
        raise ValueError(f"spikes must be maps [B, C, H, W], or [B, N] of linear layers, got {tuple(spikes.shape)}")
    if channels % groups or weight.shape[0] % groups:
        raise ValueError(f"groups must divide the channels of spikes and weight, {channels} and {weight.shape[0]}, got {groups}")
    geometry_of((batch, channels // groups, *size), weight, spikes.steps, product.avg_pool, product.stride, product.padding)
    device = weight.device.type
    low = device != "meta" and torch.is_autocast_enabled(device)
    return weight.to(torch.get_autocast_dtype(device)) if low else weight


def fired_of(current: Tensor, neurons: Neurons) -> tuple[SpikeTimes, Tensor]:
    """(spikes, moments of the batch) of currents in site order."""
    if portable.serves(current.device):
        return portable.fired_of(current, neurons)
    trained = current, neurons.gamma, neurons.bias, neurons.clip
    record = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in trained)
    anchor, times, _, moments = ops.windowed.fire(current, *neurons, record)
    return _spikes_of(anchor if record else None, times, neurons.steps), moments


def _spikes_of(anchor: Tensor | None, times: Tensor, steps: int) -> SpikeTimes:
    """Spikes of times in site order."""
    return SpikeTimes._trusted(times.permute(0, 3, 1, 2) if times.dim() == 4 else times, steps, anchor)


def earliest_of(spikes: SpikeTimes, pool: int) -> SpikeTimes:
    """The earliest spikes of patches of pool x pool units, whose values are the largest; the gradient goes to the winners."""
    if portable.serves(spikes.device):
        return portable.earliest_of(spikes, pool)
    anchor, times = ops.windowed.earliest(*valued_of(spikes), pool)
    return _spikes_of(anchor, times, spikes.steps)


def valued_of(spikes: SpikeTimes) -> tuple[Tensor, Tensor | None]:
    """Times, maps in site order, and the anchor of their values."""
    return in_sites(spikes.times), spikes._value_anchor()
