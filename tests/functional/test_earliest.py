"""`functional.earliest`: the minimum of two times, whose gradient goes to the one that was taken."""

from __future__ import annotations

import torch

from firstspike import SpikeTimes, functional

from ..samples import generator, spike_times


def test_times_and_gradient() -> None:
    a, b = (torch.rand(4, 70, generator=generator(s)).mul(0.6).requires_grad_() for s in (0, 1))
    one, other = functional.ramp(a, 8), functional.ramp(b, 8)
    first = functional.earliest(one, other)
    assert torch.equal(first.times, torch.minimum(one.times, other.times))
    gradient = torch.randn(8, 4, 70, generator=generator(2))
    got = torch.autograd.grad(first.dense(), [a, b], gradient)
    wins = one.times <= other.times
    expected = torch.autograd.grad(functional.ramp(a, 8).dense(), a, gradient * wins)
    expected += torch.autograd.grad(functional.ramp(b, 8).dense(), b, gradient * ~wins)
    assert wins.any() and (~wins).any() and all(map(torch.equal, got, expected))


def test_without_a_gradient() -> None:
    a, b = (SpikeTimes(spike_times((2, 9), 8, "mixed", generator(s)), 8) for s in (0, 1))
    first = functional.earliest(a, b)
    assert not first.requires_grad and torch.equal(first.times, torch.minimum(a.times, b.times))


def test_a_gradient_that_is_not_finite_stays_on_its_side() -> None:
    a, b = torch.ones(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    first = functional.earliest(functional.ramp(a, 4), functional.ramp(b, 4))
    gradient = torch.full((4, 1, 2), float("inf"))
    to_a, to_b = torch.autograd.grad(first.dense(), [a, b], gradient)
    assert to_a.isinf().all() and (to_b == 0).all()
