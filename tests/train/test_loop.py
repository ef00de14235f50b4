"""One epoch of training: nets of which a part cannot learn are warned of."""

import dataclasses

import pytest
import torch
from torch import nn

from firstspike import SpikeTimes, cat
from firstspike import nn as fs

from .conftest import run


class Sided(nn.Module):
    """Two layers side by side, put together with `join`."""

    def __init__(self, join):
        super().__init__()
        self.left, self.right = (fs.DirectLinear(36, 8, steps=4) for _ in range(2))
        self.last, self.join = fs.Integrate(16, 4, steps=4), join

    def forward(self, x):
        x = x.flatten(1)
        return self.last(self.join(self.left(x), self.right(x))).mean(0)


def test_parameters_without_a_gradient_are_named(config, sets):
    def bytes_alone(a, b):
        return SpikeTimes(torch.cat([a.times, b.times], 1), 4)

    with pytest.warns(UserWarning, match=r"no gradient reached left\.weight and \d more.*firstspike\.cat"):
        run(config.replace(epochs=1, spec=""), sets, model=Sided(bytes_alone))
    run(config.replace(epochs=1, spec=""), sets, model=Sided(lambda a, b: cat([a, b])))  # a warning would be an error


def test_a_net_that_cannot_learn_is_warned_of(config, sets):
    """Inputs so small that no neuron comes near its threshold: all weights have a gradient of zeros."""
    dark = tuple(dataclasses.replace(part, images=part.images // 100) for part in sets)
    with pytest.warns(UserWarning, match=r"the gradients of all weights are zero for the first batch.*hidden_gain"):
        run(config.replace(epochs=1), dark)
    run(config.replace(epochs=1, standardize=True), dark)  # a warning would be an error
