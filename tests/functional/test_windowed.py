"""Layers of windows: times as their reference's, gradients to rounding, and the closed form as the simulation of both windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from firstspike import SpikeTimes, cat, functional, nn, ops, reference
from firstspike.ops.windowed import Neurons

from ..compare import same_on_threads
from ..samples import SILENT, generator, refusals, spike_times

STEPS = st.sampled_from([1, 2, 3, 4, 16, 64, 254, 255])
SHAPES = st.sampled_from([(1, 1), (7, 5), (130, 33), (3, 70), (2, 3, 4, 5), (9, 32, 7, 6), (4, 70, 5, 5), (40, 16, 9, 9)])
SEEDS = st.integers(0, 2**20)


@given(shape=SHAPES, steps=STEPS, mode=st.sampled_from(["plain", "bias", "fixed", "batch"]), per=st.booleans(), seed=SEEDS)
def test_fire_and_its_gradient(shape: tuple[int, ...], steps: int, mode: str, per: bool, seed: int) -> None:
    g, channels = generator(seed), shape[1]
    current = torch.randn(shape, generator=g).requires_grad_()
    clip = (torch.rand(channels if per else 1, generator=g) + 0.5).requires_grad_()
    bias = None if mode == "plain" else torch.randn(channels, generator=g).requires_grad_()
    gamma = (torch.rand(channels, generator=g) + 0.5).requires_grad_() if mode in ("fixed", "batch") else None
    moments = torch.rand(2, channels, generator=g) if mode == "fixed" else None
    batch = mode == "batch"
    if batch and current.numel() // channels < 2:
        return
    tensors = {"current": current, "clip": clip, "bias": bias, "gamma": gamma}
    tensors = {name: x for name, x in tensors.items() if x is not None}
    neurons = Neurons(clip, steps, gamma, bias, moments, 1e-5, batch)
    spikes, of_batch = functional.windowed.fired_of(functional.windowed.in_sites(current), neurons)
    if not batch:
        public = functional.windowed_fire(current, clip, steps, bias=bias, gamma=gamma, moments=moments)
        assert torch.equal(public.times, spikes.times)

    doubles = {name: x.detach().double().requires_grad_() for name, x in tensors.items()}
    exact = {"moments": None if moments is None else moments.double(), "batch": batch, **doubles}
    expected = reference.windowed_fire(**exact, steps=steps)
    with torch.no_grad():
        level = reference.window_level(**exact)
        offset = 0.0 if bias is None else (bias / clip).view(-1, *[1] * (current.dim() - 2))
    # Neither between two levels nor at an end of the clip.
    clear = (((level * steps) % 1 - 0.5).abs() > 2e-3) & (level.abs() > 1e-4) & ((level - 1).abs() > 1e-4)
    assert clear.double().mean() > 0.4 or clear.numel() < 50
    times = reference.window_times(expected, steps)
    assert torch.equal(spikes.times[clear], times[clear])
    if batch:
        others = [d for d in range(current.dim()) if d != 1]
        double = current.detach().double()
        torch.testing.assert_close(of_batch[0].double(), double.mean(others), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(of_batch[1].double(), double.var(others, correction=0), rtol=1e-5, atol=1e-6)

    at = torch.randn(shape, generator=g) * clear
    parts = torch.autograd.grad(functional.windowed_values(spikes), [*tensors.values()], at)
    exact_parts = torch.autograd.grad(expected, [*doubles.values()], at.double())
    # Rounding of normalised currents: at most that of the largest of a channel.
    scale = torch.ones(channels).double() if gamma is None else gamma.detach().double()
    slope = scale / clip.detach().double()
    largest = ((level.detach() - offset).movedim(1, -1) / slope).abs().flatten(0, -2).amax(0)
    total = at.double().abs().movedim(1, 0).flatten(1).sum(1) * 2**-7 * largest
    inverse = 1.0 if gamma is None else ((of_batch if batch else moments)[1].double() + 1e-5).rsqrt()
    bounds = {
        "current": slope * inverse * 2 * largest * total * channels / at.numel() if batch else 0 * total,
        "clip": (total * slope / clip.detach().double()).sum() if len(clip) == 1 else total * slope / clip.detach().double(),
        "bias": 0 * total,
        "gamma": total / clip.detach().double(),
    }
    noise = 1e-4 * (1 + at.double().abs().sum() ** 0.5)
    for name, part, other in zip(tensors, parts, exact_parts, strict=True):
        error = (part.double() - other).abs()
        error = error.movedim(1, -1) if name == "current" else error
        assert (error <= bounds[name] + noise * (1e-2 if name == "current" else 1.0) * (1 + other.abs().max())).all(), name


@given(shape=SHAPES, batch=st.booleans(), normal=st.booleans(), per=st.booleans(), seed=SEEDS)
def test_gradient_is_the_formula_on_normalised_currents(shape, batch, normal, per, seed):
    """The sums of gradients inside the clip, where the last bit is set, and the batch's correction, to rounding."""
    g, channels = generator(seed), shape[1]
    sites = (shape[0], *shape[2:], channels)
    at, normalized = torch.randn(sites, generator=g), 2 * torch.randn(sites, generator=g).bfloat16()
    clip, gamma, bias = (torch.rand(n, generator=g) * 2 + 0.05 for n in (channels if per else 1, channels, channels))
    gamma *= torch.randint(0, 2, (channels,), generator=g) * 2 - 1
    moments = torch.rand(2, channels, generator=g) + 0.1
    batch = batch and normal
    neurons = Neurons(clip, 4, gamma if normal else None, bias, moments if normal else None, 1e-5, batch)
    names = "current", "clip", "gamma", "bias"
    parts = dict(zip(names, ops.windowed.fire_backward(at, normalized, *neurons), strict=True))

    n, per_clip = normalized.flatten(0, -2).double(), 1 / clip.double()
    inside = (at * (normalized.view(torch.int16) & 1)).flatten(0, -2).double()
    scale = gamma.double() if normal else torch.ones(channels).double()
    total, product = inside.sum(0), (inside * n).sum(0)
    factor = scale * per_clip * ((moments[1].double() + 1e-5).rsqrt() if normal else 1.0)
    expected = factor * (inside - (total + n * product) / len(n) if batch else inside)
    at_clip = -(scale * product + bias * total) * per_clip**2
    noise = 1e-5 * float(per_clip.max() * (1 + n.abs().max()) ** 2) * len(n) ** 0.5
    torch.testing.assert_close(parts["current"].flatten(0, -2).double(), expected, rtol=1e-5, atol=noise)
    torch.testing.assert_close(parts["bias"].double(), total * per_clip, rtol=1e-4, atol=noise)
    clips = at_clip if per else at_clip.sum()[None]
    torch.testing.assert_close(parts["clip"].double(), clips, rtol=1e-4, atol=noise * channels * float(per_clip.max()))
    if normal:
        torch.testing.assert_close(parts["gamma"].double(), product * per_clip, rtol=1e-4, atol=noise)


@pytest.mark.parametrize("gamma", [1.0, -1.0, 0.0])
def test_currents_far_outside_the_clip_get_no_gradient(gamma: float) -> None:
    """Nor does NaN, which is silent, and no parameter gets one of them."""
    current = torch.tensor([[torch.nan, torch.inf, -torch.inf, 1e38, -1e38, 1e9, -1e9]]).T.repeat(3, 1)
    tensors = current.requires_grad_(), torch.full((1,), gamma, requires_grad=True), torch.full((1,), -0.1, requires_grad=True)
    spikes = functional.windowed_fire(
        current, torch.ones(1), 4, gamma=tensors[1], bias=tensors[2], moments=torch.tensor([[0.0], [1.0]])
    )
    assert (spikes.times[::7] == SILENT).all()
    parts = torch.autograd.grad(functional.windowed_values(spikes).sum(), tensors)
    assert all(not part.any() for part in parts)


@pytest.mark.parametrize("size", [1.0, 0.1, 0.03, 1e-4])
def test_small_gammas_have_their_gradients(size: float) -> None:
    """Channels of which little is inside the clip, or much, or all: the gradients of batch normalisation."""
    g = generator(0)
    current, at = torch.randn(2, 512, 24, generator=g)
    gamma, bias = torch.full((24,), size), torch.linspace(-0.6, 3.6, 24)
    tensors = [x.requires_grad_() for x in (current, gamma, bias)]
    spikes, _ = functional.windowed.fired_of(current, Neurons(torch.tensor([3.0]), 16, gamma, bias, eps=1e-5, batch=True))
    doubles = [x.detach().double().requires_grad_() for x in tensors]
    named = dict(zip(("current", "gamma", "bias"), doubles, strict=True))
    expected = reference.windowed_fire(**named, clip=3.0 * torch.ones(1).double(), moments=None, batch=True, steps=16)
    at += current.detach() / 2
    parts = torch.autograd.grad(functional.windowed_values(spikes), tensors, at)
    exact_parts = torch.autograd.grad(expected, doubles, at.double())
    for part, other in zip(parts, exact_parts, strict=True):
        assert (part - other).norm() < 0.004 * other.norm()


@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 9)),
    steps=STEPS,
    own=STEPS,
    rise=st.integers(0, 100),
    pattern=st.sampled_from(["mixed", "silent", "early", "spread"]),
    seed=SEEDS,
)
def test_closed_form_is_the_simulation_of_both_windows(sizes, steps, own, rise, pattern, seed):
    batch, inputs, outputs = sizes
    g, rise = generator(seed), 2 * rise + 1
    times = spike_times((batch, inputs), steps, pattern, g)
    weight = torch.randint(-9, 10, (outputs, inputs), generator=g)
    bias = torch.randint(-50, 51, (outputs,), generator=g)
    expected = reference.window_steps(times, weight, bias, rise, steps, own)
    current = functional.windowed_linear(SpikeTimes(times, steps), weight.float())
    clip = torch.tensor([rise * own / steps])
    assert torch.equal(functional.windowed_fire(current, clip, own, bias=bias.float() / steps).times, expected)


@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(3, 9), st.integers(3, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    options=st.fixed_dictionaries(
        {"stride": st.integers(1, 2), "padding": st.integers(0, 1), "groups": st.sampled_from([1, 3]),
         "avg_pool": st.integers(1, 2)}
    ),
    steps=STEPS,
    seed=SEEDS,
)  # fmt: skip
def test_products(sizes, kernel, options, steps, seed):
    """Convolutions and, of the same maps, a linear layer: values, currents and their gradients."""
    batch, channels, height, width = sizes
    channels *= options["groups"]
    g, pool = generator(seed), options["avg_pool"]
    if any(n // pool + 2 * options["padding"] < k for n, k in zip((height, width), kernel, strict=True)):
        return
    spikes = functional.windowed_encode(torch.rand(batch, channels, height, width, generator=g).requires_grad_(), steps)
    x = reference.windowed_values(spikes).requires_grad_()
    pooled = F.avg_pool2d(x, pool)
    weight = torch.randn(2 * options["groups"], channels // options["groups"], *kernel, generator=g).requires_grad_()
    flat = torch.randn(5, pooled[0].numel(), generator=g).requires_grad_()
    shaping = {name: options[name] for name in ("stride", "padding", "groups")}
    pairs = [
        (functional.windowed_values(spikes, avg_pool=pool), pooled),
        (functional.windowed_conv2d(spikes, weight, **options), F.conv2d(pooled, weight.double(), **shaping)),
        (functional.windowed_linear(spikes, flat, avg_pool=pool), F.linear(pooled.flatten(1), flat.double())),
    ]
    for got, expected in pairs:
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)
        at = torch.randn(got.shape, generator=g)
        one = torch.autograd.grad(got, (spikes._anchor, weight, flat), at, retain_graph=True, allow_unused=True)
        other = torch.autograd.grad(expected, (x, weight, flat), at.double(), retain_graph=True, allow_unused=True)
        for a, b in zip(one, other, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a.double(), b.double(), rtol=1e-4, atol=1e-4)


@given(
    size=st.tuples(st.integers(2, 6), st.integers(1, 4)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(2, 4)),
    padding=st.integers(0, 1),
    seed=SEEDS,
)
def test_product_of_one_channel_and_one_column_with_a_stride(size, kernel, stride, padding, seed) -> None:
    """oneDNN's kernels for AVX-512 (torch 2.13) give other numbers for data that are in both memory formats at once."""
    padded = [n + 2 * padding for n in size]
    if padded[0] < kernel[0] or not kernel[1] <= padded[1] < kernel[1] + stride[1]:
        return
    g = generator(seed)
    spikes = functional.windowed_encode(torch.rand(16, 1, *size, generator=g).requires_grad_(), 16)
    weight = torch.randn(8, 1, *kernel, generator=g).requires_grad_()
    x, double = reference.windowed_values(spikes).requires_grad_(), weight.detach().double().requires_grad_()
    got = functional.windowed_conv2d(spikes, weight, stride=stride, padding=padding)
    expected = F.conv2d(x, double, stride=stride, padding=padding)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)
    at = torch.randn(got.shape, generator=g)
    gradients = torch.autograd.grad(got, (spikes._anchor, weight), at)
    for gradient, true in zip(gradients, torch.autograd.grad(expected, (x, double), at.double()), strict=True):
        torch.testing.assert_close(gradient.double(), true, rtol=1e-4, atol=1e-4)


@given(groups=st.sampled_from([1, 3]), pool=st.integers(1, 2), steps=st.sampled_from([1, 2, 4, 16]), seed=SEEDS)
def test_products_under_autocast_are_in_bfloat16(groups: int, pool: int, steps: int, seed: int) -> None:
    """bfloat16 holds these levels and weights, so that only results are rounded."""
    g = generator(seed)
    spikes = functional.windowed_encode(torch.rand(3, 3, 6, 8, generator=g).requires_grad_(), steps)
    kernel, flat = (
        torch.randn(size, generator=g).bfloat16().float().requires_grad_()
        for size in ((6, 3 // groups, 3, 3), (5, 3 * (6 // pool) * (8 // pool)))
    )

    def currents() -> tuple[Tensor, Tensor]:
        convolved = functional.windowed_conv2d(spikes, kernel, padding=1, groups=groups, avg_pool=pool)
        return convolved, functional.windowed_linear(spikes, flat, avg_pool=pool)

    with torch.autocast("cpu", torch.bfloat16):
        low = currents()
    for got, expected in zip(low, currents(), strict=True):
        assert got.dtype == torch.float32 and torch.equal(got, got.bfloat16().float())
        torch.testing.assert_close(got, expected, rtol=2**-8, atol=1e-5)
        at, weight = torch.randn(got.shape, generator=g).bfloat16().float(), kernel if got.dim() == 4 else flat
        both = (torch.autograd.grad(current, (spikes._anchor, weight), at, retain_graph=True) for current in (got, expected))
        for one, other in zip(*both, strict=True):
            torch.testing.assert_close(one, other, rtol=2**-7, atol=1e-4)


@given(sizes=st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(2, 7), st.integers(2, 7)), k=st.integers(1, 2),
       steps=STEPS, seed=SEEDS)  # fmt: skip
def test_earliest_pooling_is_the_maximum(sizes: tuple[int, int, int, int], k: int, steps: int, seed: int) -> None:
    g = generator(seed)
    spikes = functional.windowed_encode(torch.rand(sizes, generator=g).requires_grad_(), steps)
    x = reference.windowed_values(spikes).requires_grad_()
    got, expected = functional.windowed_values(nn.EarliestPool2d(k)(spikes)), F.max_pool2d(x, k)
    torch.testing.assert_close(got.double(), expected)
    at = torch.randn(got.shape, generator=g)
    (one,), (other,) = (torch.autograd.grad(*pair) for pair in ((got, spikes._anchor, at), (expected, x, at.double())))
    torch.testing.assert_close(one.double(), other)


def test_images_of_eight_bits_are_exact() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(2, 2, 8, 8)
    spikes = functional.windowed_encode(pixels)
    assert spikes.steps == 255 and torch.equal(spikes.times, torch.where(pixels == 0, SILENT, 255 - pixels.int()).byte())
    assert torch.equal(functional.windowed_values(spikes), pixels.float() / 255)
    assert torch.equal(functional.windowed_encode(pixels.float() / 255).times, spikes.times)


def test_same_bits_for_any_number_of_threads() -> None:
    def results() -> list[Tensor]:
        g = generator(3)
        current = torch.randn(37, 21, 23, 33, generator=g).requires_grad_()
        gamma, bias, clip = (torch.rand(n, generator=g).add_(0.5).requires_grad_() for n in (33, 33, 1))
        spikes, made = functional.windowed.fired_of(current, Neurons(clip, 16, gamma, bias, eps=1e-5, batch=True))
        pooled = nn.EarliestPool2d(2)(spikes)
        both = functional.windowed_values(pooled).sum() + functional.windowed_values(spikes, avg_pool=2).square().sum()
        return [spikes.times, made, pooled.times, *torch.autograd.grad(both, (current, gamma, bias, clip))]

    same_on_threads(results)


def test_views_of_spikes_keep_the_gradient_of_values() -> None:
    x = torch.rand(4, 3, 2, 2, generator=generator(0)).requires_grad_()
    spikes = functional.windowed_encode(x, 255)
    for view, of in (
        (spikes.flatten(), x.flatten(1)),
        (spikes[1:3], x[1:3]),
        (spikes[torch.tensor([3, 0, 3])], x[[3, 0, 3]]),
        (spikes[:, 1:], x[:, 1:]),
        (cat([spikes, spikes[:, :2].detach()]), torch.cat([x, x[:, :2].detach()], 1)),
    ):
        at = torch.randn(of.shape, generator=generator(1))
        (one,), (other,) = (torch.autograd.grad(y, x, at, retain_graph=True) for y in (functional.windowed_values(view), of))
        torch.testing.assert_close(one, other)


def test_trains_of_steps_have_values_and_values_no_steps() -> None:
    train = torch.zeros(4, 1, 3)
    train[0, 0, 0] = train[3, 0, 1] = 1
    train.requires_grad_()
    values = functional.windowed_values(SpikeTimes.from_dense(train))
    assert values.tolist() == [[1.0, 0.25, 0.0]]
    (gradient,) = torch.autograd.grad(values, train, torch.tensor([[1.0, 2.0, 4.0]]))
    assert gradient[:, 0].tolist() == [[1.0, 2.0, 4.0], [0.75, 1.5, 3.0], [0.5, 1.0, 2.0], [0.25, 0.5, 1.0]]
    spikes = functional.windowed_encode(torch.rand(2, 3).requires_grad_(), 4)
    for call in (spikes.dense, lambda: functional.linear(spikes, torch.ones(2, 3))):
        with pytest.raises(TypeError, match="values"):
            call()


def _fire(**parameters: Any) -> SpikeTimes:
    return functional.windowed_fire(**{"current": torch.ones(4, 5), "clip": torch.ones(1), "steps": 4} | parameters)


MOMENTS = torch.ones(2, 5)
test_refusals = refusals(
    (lambda: _fire(bias=torch.zeros(4)), ValueError, "bias.*4"),
    (lambda: _fire(gamma=torch.ones(1), moments=MOMENTS), ValueError, "gamma.*1"),
    (lambda: _fire(gamma=torch.ones(5)), ValueError, "gamma.*moments"),
    (lambda: _fire(moments=torch.ones(5, 2)), ValueError, r"moments.*\(5, 2\)"),
    (lambda: _fire(moments=MOMENTS, eps=-1.0), ValueError, "eps.*-1"),
    (lambda: _fire(clip=torch.ones(4)), ValueError, "clip.*4"),
    (lambda: _fire(current=torch.ones(2, 5, 3), bias=torch.ones(5)), ValueError, r"current.*\(2, 5, 3\)"),
    (lambda: functional.windowed_encode(torch.tensor([[0.5, torch.nan]])), ValueError, "x.*finite"),
)
