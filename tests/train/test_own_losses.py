"""Losses with parameters of their own: in the optimizer, or warned of."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from .conftest import run


class Tempered(nn.Module):
    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, scores, labels):
        return F.cross_entropy(scores * self.temperature, labels)


def test_a_loss_whose_parameters_the_optimizer_lacks_is_warned_of(config, sets):
    config = config.replace(epochs=1)
    with pytest.warns(UserWarning, match="the optimizer does not have temperature of the loss"):
        run(config, sets, loss=Tempered())
    run(config, sets, loss=Tempered().requires_grad_(False))  # no warning
    loss = Tempered()
    run(config, sets, loss=loss, optimizer=lambda net: torch.optim.Adam([*net.parameters(), *loss.parameters()]))
    assert loss.temperature.item() != 1


def test_clip_counts_the_gradient_of_a_loss_that_is_trained(config, sets):
    loss, steps = Tempered(), []

    class Seen(torch.optim.SGD):
        def step(self, closure=None):
            norms = [parameter.grad.norm() for group in self.param_groups for parameter in group["params"]]
            steps.append(float(torch.stack(norms).norm()))
            return super().step(closure)

    run(config.replace(epochs=1, clip=1e-3), sets, loss=loss,
        optimizer=lambda net: Seen([*net.parameters(), *loss.parameters()], lr=0.1))  # fmt: skip
    assert max(steps) < 1.001e-3
