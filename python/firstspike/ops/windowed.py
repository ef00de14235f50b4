"""Layers of windows: values of spike times, products of them, and the neuron that fires in a separate window.

Times, values and currents are [B, N], or maps in site order, [B, H, W, C]. A spike at t in a window of T steps has the value
a / T with a = T - t, silence has 0. The anchor has the shape of `SpikeTimes`, [B, N] or [B, C, H, W]: the gradient with
respect to the values. For its gradient a neuron keeps its time, and in bfloat16 its normalised current. Products are computed in
the type of the weight; currents and gradients of values are float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._base.geometry import one_channel, out_size, pixels
from ._operator import operator
from ._support import array, cpu, empty, only, require_record, threads

_LARGE = 1 << 18  # bytes from which the kernels' own store of blocks is worth its overhead


class Product(NamedTuple):
    """How a weight is applied to values, in the order of the schemas; a weight [O, N] is applied to flattened maps."""

    avg_pool: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1


class Neurons(NamedTuple):
    """a = clamp(floor(T v / clip + 1/2), 0, T), a spike at T - a, none for a = 0; in the order of the schemas.

    With moments or `batch` v = gamma (current - mean) / sqrt(variance + eps) + bias, else current + bias.
    """

    clip: Tensor  # [1] or [C]
    steps: int
    gamma: Tensor | None = None  # [C]
    bias: Tensor | None = None  # [C]
    moments: Tensor | None = None  # [2, C], mean and variance
    eps: float = 0.0  # added to the variance
    batch: bool = False  # normalise by the mean and variance of the currents themselves

    def arrays(self, moments: Tensor | None) -> tuple[Any, ...]:
        """The parameters as the kernels take them."""
        return array(moments), array(self.gamma), array(self.bias), array(self.clip), self.eps

    def rows(self, shape: Sequence[int]) -> tuple[int, int]:
        """Sites and channels of neurons; where channels share all parameters, one channel."""
        shared = self.clip.shape[0] == 1 and not self.batch and self.moments is None and self.bias is None
        return (math.prod(shape), 1) if shared else (math.prod(shape[:-1]), shape[-1])


def _space(shape: Sequence[int], dtype: torch.dtype = torch.uint8) -> Tensor:
    """Uninitialised memory from the kernels' store, see `empty`."""
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE:
        return torch.empty(shape, dtype=dtype)
    return empty([(size + 3) // 4]).view(torch.uint8)[:size].view(dtype).view(shape)


def _anchor(times: Tensor) -> Tensor:
    """The anchor of times in site order, or of what has their shape."""
    return _maps(times.new_zeros((), dtype=torch.float32).expand_as(times))


def _maps(x: Tensor) -> Tensor:
    """[B, H, W, C] as [B, C, H, W]; other shapes as they are."""
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


def in_sites(x: Tensor) -> Tensor:
    """[B, C, H, W] in site order; other shapes as they are; contiguous."""
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).contiguous()


def _sizes(shape: Sequence[int]) -> tuple[int, ...]:
    """Samples, height, width, channels."""
    return tuple(shape) if len(shape) == 4 else (shape[0], 1, 1, math.prod(shape[1:]))


def _pooled(shape: Sequence[int], pool: int) -> tuple[int, ...]:
    if len(shape) != 4:
        return tuple(shape)
    batch, height, width, channels = shape
    return batch, height // pool, width // pool, channels


def _values(times: Tensor, anchor: Tensor | None, steps: int, pool: int) -> Tensor:
    averages = empty(_pooled(times.shape, pool))
    cpu.windowed_values(_sizes(times.shape), pool, steps, array(times), threads(), array(averages))
    return averages


def _values_fake(times: Tensor, anchor: Tensor | None, steps: int, pool: int) -> Tensor:
    return times.new_empty(_pooled(times.shape, pool), dtype=torch.float32)


def _values_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    times, anchor, _, ctx.pool = inputs
    ctx.shape = times.shape
    ctx.save_for_backward(anchor)


def _values_gradient(ctx: Any, saved: Sequence[Any], gradient: Tensor) -> tuple[None, Tensor, None, None]:
    return None, _maps(gradient if ctx.pool == 1 else unpool(gradient, ctx.shape, ctx.pool)), None, None


def _unpool(gradient: Tensor, shape: list[int], pool: int) -> Tensor:
    at_units = empty(shape)
    cpu.windowed_values_gradient(tuple(shape), pool, array(gradient.contiguous()), threads(), array(at_units))
    return at_units


def _product(times: Tensor, anchor: Any, weight: Tensor, bias: Tensor | None, steps: int, *settings: Any) -> Tensor:
    product = Product(*settings)
    return weighted(_maps(_values(times, None, steps, product.avg_pool)), weight, bias, product)


def weighted(values: Tensor, weight: Tensor, bias: Tensor | None, product: Product) -> Tensor:
    """The product of pooled values, [B, N] or [B, C, H, W], with a weight, in site order; in plain torch."""
    values, bias = values.to(weight.dtype), None if bias is None else bias.to(weight.dtype)
    if weight.dim() == 2:
        return torch.nn.functional.linear(values.flatten(1), weight, bias).float()
    _, stride, padding, groups = product
    values = one_channel(values, weight, stride, padding) if values.shape[1] == 1 else values
    return in_sites(torch.conv2d(values, weight, bias, list(stride), list(padding), 1, groups).float())


def _product_fake(times: Tensor, anchor: Any, weight: Tensor, bias: Tensor | None, steps: int, *settings: Any) -> Tensor:
    pool, stride, padding, _ = Product(*settings)
    batch, *size, _ = _sizes(_pooled(times.shape, pool))
    if weight.dim() == 2:
        return times.new_empty((batch, weight.shape[0]), dtype=torch.float32)
    sites = map(out_size, size, weight.shape[2:], stride, padding)
    return times.new_empty((batch, *sites, weight.shape[0]), dtype=torch.float32)


def _product_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    times, anchor, weight, _, *ctx.settings = inputs
    ctx.save_for_backward(times, weight, anchor)


def _product_gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor) -> tuple[Tensor | None, ...]:
    times, weight, _ = saved
    _, to_anchor, to_weight, to_bias, *_ = ctx.needs_input_grad
    at_anchor, at_weight = product_backward(gradient, times, weight, *ctx.settings, to_anchor, to_weight)
    at_bias = gradient.flatten(0, -2).sum(0) if to_bias else None
    return None, _maps(at_anchor) if to_anchor else None, at_weight if to_weight else None, at_bias, *[None] * 5


def _product_backward(gradient: Tensor, times: Tensor, weight: Tensor, steps: int, *settings: Any) -> tuple[Tensor, Tensor]:
    *product, to_anchor, to_weight = settings
    pool, stride, padding, groups = Product(*product)
    values = _maps(_values(times, None, steps, pool)).to(weight.dtype)
    gradient, no_values = gradient.to(weight.dtype), gradient.new_empty(0)
    if weight.dim() == 2:
        at_values = gradient.mm(weight) if to_anchor else no_values
        if to_anchor and values.dim() == 4:
            at_values = at_values.view(values.shape)
        at_weight = gradient.t().mm(values.flatten(1)) if to_weight else weight.new_empty(0)
    else:

        def part(number: int, x: Tensor, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
            """The convolution's gradient at its input (0) or its weight (1)."""
            geometry = [*stride], [*padding], [1, 1], False, [0, 0], groups
            mask = [number == 0, number == 1, False]
            gradients = torch.ops.aten.convolution_backward(_maps(gradient), x, weight, None, *geometry, mask)
            return gradients[number]  # type: ignore[no-any-return]

        at_values = part(0, values, stride, padding) if to_anchor else no_values
        at_weight = weight.new_empty(0)
        if to_weight and tuple(weight.shape[2:]) == (1, 1):
            seen = pixels(values, stride, padding).contiguous(memory_format=torch.channels_last)
            at_weight = part(1, seen, (1, 1), (0, 0))
        elif to_weight:
            at_weight = part(1, values, stride, padding)
    if to_anchor:
        at_values = in_sites(at_values).float()
        at_values = at_values if pool == 1 else _unpool(at_values, list(times.shape), pool)
    return at_values, at_weight.contiguous()


def _product_backward_fake(gradient: Tensor, times: Tensor, weight: Tensor, steps: int, *settings: Any) -> tuple[Tensor, Tensor]:
    *_, to_anchor, to_weight = settings
    return gradient.new_empty(times.shape if to_anchor else 0), weight.new_empty(weight.shape if to_weight else 0)


def _fire(current: Tensor, *settings: Any) -> tuple[Tensor, ...]:
    *parameters, record = settings
    n = Neurons(*parameters)
    current = current.contiguous()
    sites, channels = n.rows(current.shape)
    moments = torch.empty((2, channels) if n.batch else 0, dtype=torch.float32)
    if n.batch:
        cpu.channel_moments(sites, channels, array(current), threads(), array(moments))
    times = _space(current.shape)
    normalized = _space(current.shape if record else (0,), torch.bfloat16)
    arrays = n.arrays(moments if n.batch else n.moments), array(current), threads(), array(times)
    cpu.windowed_times((sites, channels, n.steps), *arrays, array(normalized) if record else None)
    return _anchor(current) if record else current.new_empty(0), times, normalized, moments


def _fire_fake(current: Tensor, *settings: Any) -> tuple[Tensor, ...]:
    *parameters, record = settings
    moments = current.new_empty((2, current.shape[-1]) if Neurons(*parameters).batch else 0)
    times = current.new_empty(current.shape, dtype=torch.uint8)
    normalized = current.new_empty(current.shape if record else 0, dtype=torch.bfloat16)
    return _anchor(current) if record else current.new_empty(0), times, normalized, moments


def _keep(ctx: Any, n: Neurons, moments: Tensor) -> tuple[Tensor | None, ...]:
    """Note the numbers of neurons, whose currents have these moments; return their tensors, which `_kept` takes."""
    ctx.neurons = n.steps, n.eps, n.batch
    return n.clip, n.gamma, n.bias, moments if n.batch else n.moments


def _kept(ctx: Any, tensors: Sequence[Any]) -> Neurons:
    (clip, *others), (steps, *numbers) = tensors, ctx.neurons
    return Neurons(clip, steps, *others, *numbers)


def _fire_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, *parameters, ctx.record = inputs
    anchor, _, normalized, moments = output
    ctx.save_for_backward(normalized, anchor, *_keep(ctx, Neurons(*parameters), moments))


def _fire_gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    require_record(ctx, "windowed_fire")
    normalized, _, *tensors = saved
    parts = fire_backward(in_sites(gradient), normalized, *_kept(ctx, tensors))
    current, clip, gamma, bias = only(parts, [ctx.needs_input_grad[i] for i in (0, 1, 3, 4)])
    return current, clip, None, gamma, bias, *[None] * 4


def _fire_backward(gradient: Tensor, normalized: Tensor, *parameters: Any) -> tuple[Tensor, ...]:
    n = Neurons(*parameters)
    current, clip = empty(normalized.shape), torch.empty_like(n.clip)
    gamma, bias = (torch.empty(0, dtype=torch.float32) if x is None else torch.empty_like(x) for x in (n.gamma, n.bias))
    cpu.windowed_gradient(
        (*n.rows(normalized.shape), n.steps),
        n.arrays(n.moments),
        n.batch,
        array(gradient.contiguous()),
        array(normalized),
        threads(),
        array(current),
        None if n.gamma is None else array(gamma),
        None if n.bias is None else array(bias),
        array(clip),
    )
    return current, clip, gamma, bias


def _fire_backward_fake(gradient: Tensor, normalized: Tensor, *parameters: Any) -> tuple[Tensor, ...]:
    n = Neurons(*parameters)
    at_parameters = [gradient.new_empty(0 if x is None else x.shape) for x in (n.clip, n.gamma, n.bias)]
    return gradient.new_empty(normalized.shape), *at_parameters


def _parts(settings: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """The settings of the product and of the neurons of a layer."""
    numbers = 1 + len(Product._fields)
    return settings[:numbers], settings[numbers:]


def _layer(times: Tensor, anchor: Any, weight: Tensor, *settings: Any) -> tuple[Tensor, ...]:
    product, neurons = _parts(settings)
    return _fire(_product(times, anchor, weight, None, *product), *neurons, True)


def _layer_fake(times: Tensor, anchor: Any, weight: Tensor, *settings: Any) -> tuple[Any, ...]:
    product, neurons = _parts(settings)
    return _fire_fake(_product_fake(times, anchor, weight, None, *product), *neurons, True)


def _layer_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    times, anchor, weight, *settings = inputs
    ctx.product, neurons = _parts(settings)
    anchor_out, _, normalized, moments = output
    ctx.save_for_backward(times, weight, anchor, normalized, anchor_out, *_keep(ctx, Neurons(*neurons), moments))


def _layer_gradients(ctx: Any, saved: Sequence[Any], gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    times, weight, _, normalized, _, *tensors = saved
    current, *neurons = fire_backward(in_sites(gradient), normalized, *_kept(ctx, tensors))
    needs = ctx.needs_input_grad
    at_anchor, at_weight = product_backward(current, times, weight, *ctx.product, needs[1], needs[2])
    clip, gamma, bias = only(neurons, [needs[i] for i in (8, 10, 11)])
    parts = _maps(at_anchor) if needs[1] else None, at_weight if needs[2] else None
    return None, *parts, *[None] * 5, clip, None, gamma, bias, *[None] * 3


def _earliest(times: Tensor, anchor: Any, pool: int) -> tuple[Tensor, Tensor]:
    pooled = _space(_pooled(times.shape, pool))
    cpu.windowed_earliest(tuple(times.shape), pool, array(times), threads(), array(pooled))
    return _anchor(pooled), pooled


def _earliest_fake(times: Tensor, anchor: Any, pool: int) -> tuple[Tensor, Tensor]:
    pooled = times.new_empty(_pooled(times.shape, pool))
    return _anchor(pooled), pooled


def _earliest_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    times, _, ctx.pool = inputs
    anchor, pooled = output
    ctx.save_for_backward(times, pooled, anchor)


def _earliest_gradient(ctx: Any, saved: Sequence[Any], gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    times, pooled, _ = saved
    return None, _maps(earliest_backward(in_sites(gradient), times, pooled, ctx.pool)), None


def _earliest_backward(gradient: Tensor, times: Tensor, pooled: Tensor, pool: int) -> Tensor:
    at_units = empty(times.shape)
    arrays = array(gradient.contiguous()), array(times), array(pooled)
    cpu.windowed_earliest_gradient(tuple(times.shape), pool, *arrays, threads(), array(at_units))
    return at_units


_PRODUCT = "int in_steps, int avg_pool, int[] stride, int[] padding, int groups"
_NEURONS = "Tensor clip, int steps, Tensor? gamma, Tensor? bias, Tensor? moments, float eps, bool batch"
# The values a / T of spike times, averaged over windows of pool x pool units; a remainder is cropped.
values = operator("windowed_values(Tensor times, Tensor? anchor, int steps, int pool) -> Tensor")(
    cpu=_values, fake=_values_fake, save=_values_save, gradients=_values_gradient
)
unpool = operator("windowed_unpool(Tensor gradient, SymInt[] shape, int pool) -> Tensor")(
    cpu=_unpool, fake=lambda gradient, shape, pool: gradient.new_empty(shape)
)
# Products of these values: [B, O] with a weight [O, N] of maps flattened in the order C, H, W, and the convolution
# [B, H', W', O] with a weight [O, C / groups, kh, kw]. Times are kept for the gradient; floats are made of them anew.
product = operator(f"windowed_product(Tensor times, Tensor? anchor, Tensor weight, Tensor? bias, {_PRODUCT}) -> Tensor")(
    cpu=_product, fake=_product_fake, save=_product_save, gradients=_product_gradients
)
product_backward = operator(
    f"windowed_product_backward(Tensor gradient, Tensor times, Tensor weight, {_PRODUCT}, bool to_anchor, bool to_weight)"
    " -> (Tensor at_anchor, Tensor at_weight)"
)(cpu=_product_backward, fake=_product_backward_fake)
# (anchor, times, normalised currents, moments) of currents. The normalised currents are kept for the gradient, in bfloat16.
fire = operator(
    f"windowed_fire(Tensor current, {_NEURONS}, bool record)"
    " -> (Tensor anchor, Tensor times, Tensor normalized, Tensor moments_out)"
)(cpu=_fire, fake=_fire_fake, save=_fire_save, gradients=_fire_gradients)
fire_backward = operator(
    f"windowed_fire_backward(Tensor gradient, Tensor normalized, {_NEURONS})"
    " -> (Tensor at_current, Tensor at_clip, Tensor at_gamma, Tensor at_bias)"
)(cpu=_fire_backward, fake=_fire_backward_fake)
# `fire` of `product`, as one step of autograd: each costs a layer about 20 microseconds, in forward and in backward.
layer = operator(
    f"windowed_layer(Tensor times, Tensor? anchor, Tensor weight, {_PRODUCT}, {_NEURONS})"
    " -> (Tensor anchor_out, Tensor times_out, Tensor normalized, Tensor moments_out)"
)(cpu=_layer, fake=_layer_fake, save=_layer_save, gradients=_layer_gradients)
# (anchor, times) of the earliest spike of each patch, whose value is the largest. Backward seeks the winners again.
earliest = operator("windowed_earliest(Tensor times, Tensor? anchor, int pool) -> (Tensor anchor_out, Tensor pooled)")(
    cpu=_earliest, fake=_earliest_fake, save=_earliest_save, gradients=_earliest_gradient
)
earliest_backward = operator("windowed_earliest_backward(Tensor gradient, Tensor times, Tensor pooled, int pool) -> Tensor")(
    cpu=_earliest_backward, fake=lambda gradient, times, *_: gradient.new_empty(times.shape)
)
