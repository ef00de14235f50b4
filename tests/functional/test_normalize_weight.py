"""Weight normalisation against its counterpart in float64: any shape, any gamma, forward and backward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from firstspike import functional, reference

from ..compare import same_on_threads
from ..samples import generator

SHAPES = st.one_of(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5)),
    st.just((40, 1500)),
)


@given(
    shape=SHAPES,
    gammas=st.sampled_from(["none", "one", "each"]),
    offset=st.sampled_from([0.0, -3.0, 50.0]),
    granularity=st.sampled_from(["layer", "channel"]),
    seed=st.integers(0, 2**20),
)
def test_counterpart(shape: tuple[int, ...], gammas: str, offset: float, granularity: str, seed: int) -> None:
    g = generator(seed)
    weight = (torch.randn(shape, generator=g) * 0.3 + offset).requires_grad_()
    gamma = None if gammas == "none" else torch.rand(1 if gammas == "one" else shape[0], generator=g) + 0.5
    parameters = [weight] if gamma is None else [weight, gamma.requires_grad_()]
    at_normal = torch.randn(shape, generator=g)
    doubles = [p.detach().double().requires_grad_() for p in parameters]
    got = functional.normalize_weight(weight, 0.7, gamma, granularity=granularity)
    expected = reference.normalize_weight(doubles[0], 0.7, *doubles[1:], granularity=granularity)
    groups = weight.detach().reshape(1 if granularity == "layer" else len(weight), -1)
    if groups.std(1, correction=0).min() < 0.01:  # few elements: differences are lost in their rounding
        assert got.isfinite().all()
        return
    close = 1e-5 * (1 + abs(offset) / 0.1)  # what float32 keeps of weights that are far from zero
    torch.testing.assert_close(got.double(), expected, rtol=close, atol=close)
    gradients = torch.autograd.grad(got, parameters, at_normal)
    for one, other in zip(gradients, torch.autograd.grad(expected, doubles, at_normal.double()), strict=True):
        scale = other.abs().max().item() + 1
        torch.testing.assert_close(one.double() / scale, other / scale, rtol=10 * close, atol=10 * close)


def test_any_layout() -> None:
    weight, gamma = torch.randn(6, 5, 3, 3, generator=generator(0)), torch.rand(12, generator=generator(1))[::2]
    at = torch.randn(weight.shape, generator=generator(2)).transpose(2, 3)
    results = []
    for w, g in ((weight, gamma.clone()), (weight.to(memory_format=torch.channels_last), gamma)):
        w, g = w.requires_grad_(), g.requires_grad_()
        normal = functional.normalize_weight(w, 1.0, g)
        results.append([normal.detach(), *torch.autograd.grad(normal, [w, g], at)])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("granularity", ["layer", "channel"])
def test_same_bits_for_any_number_of_threads(granularity: str) -> None:
    weight = torch.randn(300, 40, 5, 5, generator=generator(0)).requires_grad_()
    gamma = torch.rand(300, generator=generator(1)).requires_grad_()

    def results() -> list[torch.Tensor]:
        out = functional.normalize_weight(weight, 0.1, gamma, granularity=granularity)
        grad = torch.randn(out.shape, generator=generator(2))
        return [out.detach(), *torch.autograd.grad(out, [weight, gamma], grad)]

    same_on_threads(results)


@pytest.mark.parametrize("granularity", ["layer", "channel"])
def test_constant_weight_stays_finite(granularity: str) -> None:
    weight = torch.ones(3, 4).requires_grad_()
    normal = functional.normalize_weight(weight, 1.0, granularity=granularity)
    assert (normal == 0).all()
    normal.sum().backward()
    assert weight.grad is not None and weight.grad.isfinite().all()


@pytest.mark.parametrize("per_output", [False, True])
@pytest.mark.parametrize("gamma", [None, torch.tensor([0.5, 2.0])])
def test_the_formulas_of_the_device_are_those_of_the_kernel(gamma: torch.Tensor | None, per_output: bool) -> None:
    """What runs on a GPU, run here."""
    from firstspike.ops import normalize

    weight = torch.randn(2, 3, 4, generator=generator(0))
    at = torch.randn(2, 3, 4, generator=generator(1))
    results = []
    for forward, backward in ((normalize._forward, normalize._backward), (normalize._forward_torch, normalize._backward_torch)):
        normal, moments = forward(weight, gamma, 0.5, per_output)
        results.append([normal, moments, *backward(at, weight, gamma, moments, 0.5, per_output)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("granularity", ["layer", "channel"])
def test_weights_whose_squares_leave_single_precision(granularity: str) -> None:
    weight = torch.randn(4, 100, generator=generator(0))
    expected = functional.normalize_weight(weight, 1.0, granularity=granularity)
    found = functional.normalize_weight(weight * 1e20, 1.0, granularity=granularity)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("shape", "granularity"), [((1, 1), "layer"), ((6, 1), "channel")])
def test_a_weight_alone_in_its_group_has_no_gradient(shape: tuple[int, int], granularity: str) -> None:
    weight = torch.randn(shape, generator=generator(0)).requires_grad_()
    normal = functional.normalize_weight(weight, 1.0, torch.full((shape[0],), 0.7), granularity=granularity)
    (gradient,) = torch.autograd.grad(normal, weight, torch.randn(shape, generator=generator(1)))
    assert (normal == 0).all() and (gradient == 0).all()
