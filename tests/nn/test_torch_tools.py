"""Layers with what torch puts into a module: parametrizations, hooks, parameters set by hand, copies, autocast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn as torch_nn
from torch.nn.utils import parametrizations

from firstspike import SpikeTimes, nn

from ..samples import generator, spike_times

STEPS = 8


def spikes(*shape: int) -> SpikeTimes:
    """Times of all kinds."""
    return SpikeTimes(spike_times(shape, STEPS, "mixed", generator(3)), STEPS)


def linear(seed: int, **options: Any) -> nn.TTFSLinear:
    """A small layer."""
    return nn.TTFSLinear(20, 9, steps=STEPS, generator=generator(seed), **options)


def test_a_theta_that_is_set_by_hand_acts() -> None:
    layer, x = linear(0), spikes(6, 20)
    before = layer(x)
    layer.theta = torch_nn.Parameter(torch.full((9,), 50.0))
    assert layer(x).silent.all() and not before.silent.all()
    layer.theta = torch_nn.Parameter(torch.ones(9))
    layer(x).dense().sum().backward()
    assert layer(x) == before and layer.theta.grad is not None
    layer.theta = None
    assert layer(x) == before and layer.threshold == 1.0


@pytest.mark.parametrize("numbers", [1, 4])
def test_a_scale_that_is_a_parameter_is_learned_as_it_is(numbers: int) -> None:
    scale = torch_nn.Parameter(torch.full((numbers,), 0.5))
    block = nn.Residual([nn.TTFSLinear(4, 4, steps=STEPS, generator=generator(0))], scale=scale)
    assert dict(block.named_parameters())["scale"] is scale
    block(spikes(6, 4)).dense().sum().backward()
    assert scale.grad is not None and block.settings() == {"learn_scale": True, "channels": numbers}


@pytest.mark.parametrize("kind", [nn.TTFSLinear, nn.Integrate, nn.DirectLinear])
@pytest.mark.parametrize("dense", [False, True])
def test_weights_made_in_bfloat16_are_raised(kind: Any, dense: bool) -> None:
    """torch's `orthogonal` multiplies matrices, in bfloat16 under autocast."""
    layer = kind(20, 9, steps=STEPS, generator=generator(0))
    parametrizations.orthogonal(layer)
    x: Any = torch.rand(6, 20, generator=generator(1)) if kind is nn.DirectLinear else spikes(6, 20)
    if dense and kind is not nn.DirectLinear:
        x = x.dense()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert (out.dense() if isinstance(out, SpikeTimes) else out).dtype == torch.float32


def test_with_its_membrane_a_layer_fires_the_same_spikes() -> None:
    """The shortcut is added behind the bias in either call, which counts where they cancel."""
    layer, x = nn.TTFSLinear(1, 1, steps=2, affine=None), SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 2)
    with torch.no_grad():
        layer.weight.fill_(1e8)
        layer.bias.fill_(-1e8)
    fired, membrane = layer(x, x, membrane=True)
    assert fired == layer(x, x) and membrane.shape == (2, 1, 1)
