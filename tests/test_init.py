"""Initialisers: range, variance, and that ETTFS-init gives a post-synaptic current of variance 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from firstspike import init


def g(seed: int = 0) -> torch.Generator:
    """A fresh generator."""
    return torch.Generator().manual_seed(seed)


CASES: list[tuple[Callable[[Tensor], Tensor], float]] = [
    (lambda w: init.ettfs_(w, 8, generator=g()), 8 / 400),
    (lambda w: init.ettfs_(w, 8, gain=2.0, generator=g()), 4 * 8 / 400),
    (lambda w: init.kaiming_(w, generator=g()), 2 / 400),
    (lambda w: init.torch_default_(w, generator=g()), 1 / (3 * 400)),
]


@pytest.mark.parametrize(("draw", "variance"), CASES)
@pytest.mark.parametrize("shape", [(300, 400), (300, 16, 5, 5)])
def test_variance_and_range(draw: Callable[[Tensor], Tensor], variance: float, shape: tuple[int, ...]) -> None:
    weight = nn.Parameter(torch.empty(shape))
    assert draw(weight) is weight
    assert weight.requires_grad and weight.is_leaf
    assert weight.var().item() == pytest.approx(variance, rel=0.02)
    assert abs(weight.mean().item()) < 0.02 * math.sqrt(variance)
    bound = math.sqrt(3 * variance)
    assert 0.999 * bound < weight.abs().max().item() <= bound * (1 + 1e-6)


def test_the_generator_decides() -> None:
    first, again, other = (init.kaiming_(torch.empty(3, 4), generator=g(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
