"""Surrogate derivatives: values by hand, area 1, support."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, functional, surrogate
from firstspike.surrogate import Surrogate

ALL = [surrogate.triangle(), surrogate.rectangle(), surrogate.atan(), surrogate.sigmoid()]


@settings(max_examples=40)
@given(kind=st.sampled_from(surrogate.KINDS), scale=st.floats(0.1, 20))
def test_area_symmetry_and_support(kind: str, scale: float) -> None:
    s = Surrogate(kind, scale)
    far = min(s.half_width * 1.5, 4000 / scale)
    u = torch.linspace(-far, far, 100_001, dtype=torch.float64)
    d = s.derivative(u)
    assert d.dtype == torch.float64 and d.shape == u.shape
    assert bool((d >= 0).all())
    torch.testing.assert_close(d, d.flip(0), rtol=1e-9, atol=1e-12)
    assert float(torch.trapezoid(d, u)) == pytest.approx(1, abs=2e-3)
    if s.sparse:
        outside = u.abs() >= s.half_width
        assert bool((d[outside] == 0).all()) and bool((d[~outside & (u.abs() < 0.999 * s.half_width)] > 0).all())
    else:
        assert s.half_width == math.inf


@pytest.mark.parametrize("s", ALL, ids=lambda s: s.kind)
def test_float32_stays_float32_and_handles_extremes(s: Surrogate) -> None:
    u = torch.tensor([-math.inf, -1e30, -100.0, 100.0, 1e30, math.inf])
    d = s.derivative(u)
    assert d.dtype == torch.float32
    assert bool(torch.isfinite(d).all()) and float(d.abs().max()) < 1e-3
    assert bool(torch.isnan(s.derivative(torch.tensor([math.nan]))).all()) or s.kind == "rectangle"


def test_frozen_comparable_and_hashable() -> None:
    assert surrogate.triangle(2) == surrogate.triangle(2.0) != surrogate.triangle(1.0)
    assert len({surrogate.triangle(), surrogate.triangle(0.9), surrogate.rectangle()}) == 2
    with pytest.raises(AttributeError):
        surrogate.triangle().scale = 2.0


@pytest.mark.parametrize("kind", surrogate.KINDS)
@pytest.mark.parametrize("scale", [surrogate.SMALLEST, surrogate.LARGEST])
def test_the_narrowest_and_the_widest_have_finite_gradients(kind: str, scale: float) -> None:
    weight = torch.ones(1, 1, requires_grad=True)  # the potential is the threshold
    spikes = SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 2)
    functional.linear(spikes, weight, surrogate=Surrogate(kind, scale)).dense().sum().backward()
    assert weight.grad is not None and weight.grad.isfinite().all()
