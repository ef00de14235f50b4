"""Layers of windows in plain torch, as devices without kernels run them: as the fused kernels, compiled, in bfloat16, on meta."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from firstspike import SpikeTimes, functional, models, nn, reference
from firstspike.functional import portable
from firstspike.ops.windowed import Neurons, Product, in_sites

from ..samples import generator, spike_times
from ..torch_version import needs_one_graph

SHAPES = st.sampled_from([(7, 5), (130, 33), (2, 3, 4, 5), (9, 32, 7, 6)])
STEPS = st.sampled_from([1, 2, 4, 16, 192, 255])
SEEDS = st.integers(0, 2**20)
T = TypeVar("T")


def fused_and_portable(call: Callable[[], T]) -> tuple[T, T]:
    """What the kernels give, and plain torch."""
    fused = call()
    with portable.everywhere():
        return fused, call()


@given(shape=SHAPES, steps=STEPS, batch=st.booleans(), per=st.booleans(), seed=SEEDS)
def test_neurons(shape: tuple[int, ...], steps: int, batch: bool, per: bool, seed: int) -> None:
    """Times and moments of the kernels, gradients of float64."""
    g, channels = generator(seed), shape[1]
    current = torch.randn(shape, generator=g).requires_grad_()
    sizes = channels if per else 1, channels, channels
    clip, gamma, bias = (torch.rand(n, generator=g).add_(0.5).requires_grad_() for n in sizes)
    moments = None if batch else torch.rand(2, channels, generator=g).add_(0.1)
    neurons = Neurons(clip, steps, gamma, bias, moments, 1e-5, batch)
    fused, fused_moments = functional.windowed.fired_of(in_sites(current), neurons)
    fired, fired_moments = portable.fired_of(in_sites(current), neurons)
    if batch:
        torch.testing.assert_close(fired_moments, fused_moments, rtol=1e-4, atol=1e-5)

    trained = [current, clip, gamma, bias]
    doubles = [x.detach().double().requires_grad_() for x in trained]
    named = dict(zip(("current", "clip", "gamma", "bias"), doubles, strict=True))
    parameters = named | {"moments": None if moments is None else moments.double(), "batch": batch}
    level = reference.window_level(**parameters).detach()
    clear = (((level * steps) % 1 - 0.5).abs() > 2e-3) & (level.abs() > 1e-4) & ((level - 1).abs() > 1e-4)
    assert torch.equal(fired.times[clear], fused.times[clear])
    at = torch.randn(shape, generator=g) * clear
    got = torch.autograd.grad(portable.values_of(fired, 1), trained, at)
    expected = torch.autograd.grad(reference.windowed_fire(**parameters, steps=steps), doubles, at.double())
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-4 * (1 + float(other.abs().max())))


@given(
    options=st.fixed_dictionaries(
        {"stride": st.integers(1, 2), "padding": st.integers(0, 1), "groups": st.sampled_from([1, 3]),
         "avg_pool": st.integers(1, 2)}
    ),
    steps=STEPS,
    pattern=st.sampled_from(["mixed", "silent", "early", "late"]),
    low=st.booleans(),
    seed=SEEDS,
)  # fmt: skip
def test_products_values_and_pools(options, steps, pattern, low, seed) -> None:
    """Results and gradients of the kernels, under autocast in bfloat16 as well."""
    g, pool = generator(seed), options["avg_pool"]
    x = functional.windowed_values(SpikeTimes(spike_times((3, 6, 7, 8), steps, pattern, g), steps)).requires_grad_()
    kernel = torch.randn(6, 6 // options["groups"], 3, 2, generator=g).requires_grad_()
    flat = torch.randn(5, 6 * (7 // pool) * (8 // pool), generator=g).requires_grad_()
    bias = torch.randn(5, generator=g)
    ats = {}

    def results() -> list[Tensor]:
        spikes = functional.windowed_encode(x, steps)
        outputs = [
            functional.windowed_conv2d(spikes, kernel, **options),
            functional.windowed.current_of(spikes, flat, Product(pool), bias),
            functional.windowed_values(spikes, avg_pool=pool),
            functional.windowed_values(nn.EarliestPool2d(2)(spikes)),
            functional.windowed_values(nn.WindowedMaxPool2d(3, 2, 1)(spikes)),
        ]
        at = [ats.setdefault(n, torch.randn(output.shape, generator=g)) for n, output in enumerate(outputs)]
        return [*outputs, *torch.autograd.grad(outputs, (x, kernel, flat), at)]

    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        fused, plain = fused_and_portable(results)
    for got, expected in zip(plain, fused, strict=True):
        assert got.dtype == torch.float32
        largest = 1 + float(expected.detach().abs().max())
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=(2**-7 if low else 1e-5) * largest)


@given(p=st.floats(0, 1), shape=st.sampled_from([(5, 7), (3, 5, 4, 2), (2, 3, 4)]), seed=st.integers(-(2**63), 2**63 - 1))
def test_dropout_draws_the_same_neurons(p: float, shape: tuple[int, ...], seed: int) -> None:
    x = torch.rand(shape, generator=generator(0)).add_(0.1).requires_grad_()

    def results() -> tuple[SpikeTimes, Tensor]:
        spikes = functional.dropout(functional.windowed_encode(x, 16), p, seed=torch.tensor([seed]))
        return spikes, torch.autograd.grad(functional.windowed_values(spikes).square().sum(), x)[0]

    (fused, expected), (spikes, gradient) = fused_and_portable(results)
    assert spikes == fused
    torch.testing.assert_close(gradient, expected)


def net() -> torch.nn.Sequential:
    """Every part that takes or gives spikes in windows; images [B, 2, 12, 12]."""
    g = generator(0)
    options = {"steps": 16, "generator": g}
    last = nn.WindowedConv2d(12, 12, 3, padding=1, clip_per_channel=True, **options)
    strided = [nn.WindowedConv2d(8, 12, 3, stride=2, padding=1, **options), last]
    return torch.nn.Sequential(
        nn.WindowedEncoder(padding=1),
        nn.WindowedConv2d(2, 8, 3, groups=2, dropout=0.1, **options),
        nn.EarliestPool2d(2),
        nn.Residual([nn.WindowedConv2d(8, 8, 3, padding=1, **options) for _ in range(2)]),
        nn.Residual(strided, nn.WindowedShortcut(8, 12, stride=2, generator=g)),
        nn.WindowedMaxPool2d(2, 1),
        nn.WindowedConv2d(12, 6, 1, normalization=False, steps=255, generator=g),
        nn.WindowedLinear(6, 20, avg_pool=2, dropout=0.3, **options),
        nn.WindowedReadout(20, 10, generator=g),
    )


IMAGES, LABELS = torch.rand(32, 2, 12, 12, generator=generator(3)), torch.arange(32) % 10


def learned(model: torch.nn.Module, forward: torch.nn.Module | None = None) -> tuple[list[Tensor], Tensor]:
    """Scores and buffers after a pass, and the gradients of all parameters in one; of a copy, with the same dropout."""
    model = copy.deepcopy(model) if forward is None else model
    torch.manual_seed(1)
    scores = (forward or model)(IMAGES).float()
    F.cross_entropy(scores, LABELS).backward()
    return [scores, *model.buffers()], torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("low", [False, True])
def test_net(low: bool) -> None:
    trained = net()
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        (expected, fused), (got, plain) = fused_and_portable(lambda: learned(trained))
    torch.testing.assert_close(got, expected)
    bound = 0.02 if low else 0.005  # normalised currents in bfloat16; products in bfloat16 under autocast
    assert (plain - fused).norm() < bound * fused.norm()


@needs_one_graph
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
def test_compiled_net_is_one_graph(backend: str) -> None:
    torch.compiler.reset()
    eager = net()[:5].append(nn.WindowedReadout(12 * 9, 10, generator=generator(1)))
    eager[1].dropout = 0.0 if backend == "inductor" else 0.1  # inductor draws other seeds
    compiled = copy.deepcopy(eager)
    with portable.everywhere():
        expected, expected_gradients = learned(eager)
        got, gradients = learned(compiled, torch.compile(compiled, backend=backend, fullgraph=True))
    torch.compiler.reset()
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-3, atol=1e-5)


def test_meta_device_gives_shapes() -> None:
    model = models.build("8C3-MP2-R(8C3-16C3)-16C3-AP2-20-10", input_shape=(1, 12, 12), steps=16, timing="windowed", dropout=0.1)
    model.to("meta")
    scores = model(torch.zeros(5, 1, 12, 12, dtype=torch.uint8, device="meta"))
    scores.sum().backward()
    assert scores.shape == (5, 10) and scores.is_meta
    assert all(p.grad is not None and p.grad.is_meta for p in model.parameters())
    assert model.observe(torch.zeros(5, 1, 12, 12, device="meta")).scores.shape == (5, 10)
