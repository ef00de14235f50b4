"""Layers that lose spikes in training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional, nn

from ..samples import generator, spike_times

LAYERS = [(nn.TTFSLinear, (40, 7), (6, 40)), (nn.TTFSConv2d, (5, 7, 3), (6, 5, 5, 4)), (nn.Integrate, (40, 7), (6, 40))]


def make(kind: Any, sizes: tuple[int, ...], **options: Any) -> nn.Synapses:
    """A layer of 8 steps."""
    return kind(*sizes, steps=8, generator=generator(0), **options)


def spikes(shape: tuple[int, ...]) -> SpikeTimes:
    """Times with silent ones."""
    return SpikeTimes(spike_times(shape, 8, "mixed", generator(1)), 8)


def plain(out: SpikeTimes | Tensor) -> Tensor:
    """A layer's output as one tensor."""
    return out if isinstance(out, Tensor) else out.times


@pytest.mark.parametrize(("kind", "sizes", "shape"), LAYERS)
def test_only_in_training(kind: Any, sizes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    without, layer, x = make(kind, sizes), make(kind, sizes, dropout=0.4), spikes(shape)
    assert torch.equal(plain(layer.eval()(x)), plain(without(x)))
    layer.train()
    torch.manual_seed(3)
    first, second = plain(layer(x)), plain(layer(x))
    torch.manual_seed(3)
    assert torch.equal(plain(layer(x)), first) and not torch.equal(first, second)
    assert "dropout=0.4" in repr(layer) and "dropout" not in repr(without)


@pytest.mark.parametrize(("kind", "sizes", "shape"), LAYERS)
def test_is_the_functions_with_larger_weights(kind: Any, sizes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    layer, x = make(kind, sizes, dropout=0.4), spikes(shape)
    torch.manual_seed(3)
    got = plain(layer(x))
    torch.manual_seed(3)
    left = functional.dropout(x, 0.4)
    weight, bias = layer.effective_weight_and_bias()
    function = {nn.TTFSLinear: functional.linear, nn.TTFSConv2d: functional.conv2d, nn.Integrate: functional.integrate}[kind]
    assert torch.equal(got, plain(function(left, weight / 0.6, bias)))


def test_dense_train_loses_whole_neurons() -> None:
    layer = make(nn.Integrate, (40, 7), dropout=0.5, bias=False)
    ones = torch.ones(8, 6, 40)
    torch.manual_seed(0)
    membrane = layer(ones)
    torch.testing.assert_close(membrane, membrane[:1] * torch.arange(1, 9).reshape(-1, 1, 1))  # the same current in every step
    assert not torch.allclose(membrane[0], layer.eval()(ones)[0])
