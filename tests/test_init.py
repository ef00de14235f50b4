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


def test_torch_default_is_what_torch_draws() -> None:
    ours = init.torch_default_(torch.empty(2000, 50), generator=g())
    torch.manual_seed(0)
    theirs = nn.Linear(50, 2000).weight
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.02)
    assert ours.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.01)


@pytest.mark.parametrize("steps", [1, 8, 64])
def test_ettfs_gives_psc_of_variance_one_in_every_step(steps: int) -> None:
    weight = init.ettfs_(torch.empty(2000, 512), steps, generator=g())
    times = torch.randint(0, steps, (512,), generator=g(1))  # every input fires once, uniformly over the steps
    spikes = nn.functional.one_hot(times, steps).float()
    psc = weight @ spikes
    assert psc.var().item() == pytest.approx(1, rel=0.1)


def test_the_generator_decides() -> None:
    first, again, other = (init.kaiming_(torch.empty(3, 4), generator=g(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_pool_gain_by_hand() -> None:
    assert init.pool_gain(1, 8) == 1
    assert init.pool_gain(3, 1) == 1  # all fire in the one step
    assert init.pool_gain(2, 2) == pytest.approx(1 / math.sqrt(1 / 8 + 1 / 2))
    assert init.pool_gain(2, 254) == pytest.approx(2, rel=0.01)
