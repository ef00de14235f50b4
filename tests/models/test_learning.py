"""Nets learn real digits in seconds: readouts, encoders and pools, with plain Adam."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from firstspike import models
from firstspike.surrogate import triangle

from ..samples import generator

NETS = [
    ("64-96-96-10", {"readout": "membrane-mean", "encoder": "latency"}, 0.87),
    ("64-96-10", {"readout": "twd-exp"}, 0.9),
    ("64-96-10", {"readout": "first-spike", "surrogate": triangle(1.0)}, 0.9),
    ("8C3-EP2-48-10", {"steps": 4}, 0.9),
]


def digits() -> tuple[Tensor, Tensor]:
    """The 1,797 digits, 8 x 8, in [0, 1], and their labels, shuffled."""
    bunch = load_digits()
    order = torch.randperm(len(bunch.target), generator=generator(0))
    return torch.tensor(bunch.images / 16, dtype=torch.float32).unsqueeze(1)[order], torch.tensor(bunch.target)[order]


def accuracy(spec: str, epochs: int = 12, lr: float = 5e-3, **options: Any) -> float:
    """Share of right answers on 397 digits after training on the other 1,400."""
    x, y = digits()
    settings = {"steps": 8, "input_shape": (1, 8, 8), "generator": generator(1)}
    net = models.build(spec, **{**settings, **options})
    adam = torch.optim.Adam(net.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs * 22)
    g = generator(2)
    for _ in range(epochs):
        for batch in torch.randperm(1400, generator=g)[:1386].split(63):
            loss = torch.nn.functional.cross_entropy(net(x[batch]), y[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
    with torch.no_grad():
        return (net(x[1400:]).argmax(1) == y[1400:]).float().mean().item()


@pytest.mark.parametrize(("spec", "options", "wanted"), NETS)
def test_learns_the_digits(spec: str, options: dict[str, Any], wanted: float) -> None:
    assert accuracy(spec, **options) > wanted
