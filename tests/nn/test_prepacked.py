"""Prepacked layers: the bits of the layers themselves, and errors that name what does not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn as torch_nn

from firstspike import SpikeTimes, nn

from ..samples import generator, spike_times

STEPS = 8


def linear(inputs: int, outputs: int, seed: int = 0, **options: object) -> nn.TTFSLinear:
    """A layer whose bias and factors are not at rest."""
    layer = nn.TTFSLinear(inputs, outputs, steps=STEPS, generator=generator(seed), **options)
    return stirred(layer, seed)


def conv(inputs: int, outputs: int, size: int, seed: int = 0, **options: object) -> nn.TTFSConv2d:
    """The same of a convolution."""
    return stirred(nn.TTFSConv2d(inputs, outputs, size, steps=STEPS, generator=generator(seed), **options), seed)


def stirred(layer, seed):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator(seed + 50))
    return layer


CHAINS = {
    "one": ((20,), lambda: [linear(20, 70)]),
    "mlp": ((150,), lambda: [linear(150, 90), linear(90, 33, 1, affine="layer"), nn.Integrate(33, 5, steps=STEPS)]),
    "leaky": ((40,), lambda: [linear(40, 30, decay=0.9), linear(30, 30, 1, affine=None, decay=0.5, threshold=0.7)]),
    "synaptic": ((40,), lambda: [linear(40, 30, synaptic_decay=1.0), nn.Integrate(30, 3, steps=STEPS, synaptic_decay=0.5)]),
    "normalised": ((40,), lambda: [linear(40, 30, normalization=True), linear(30, 6, 1, normalization=True)]),
    "cnn": (
        (1, 12, 10),
        lambda: [
            conv(1, 20, 3, padding=1),
            conv(20, 70, 3, 1, padding=1, avg_pool=2),
            linear(70 * 3 * 2, 40, 2, avg_pool=2, dropout=0.5),
            nn.Integrate(40, 3, steps=STEPS),
        ],
    ),
    "strided": ((3, 15, 15), lambda: [conv(3, 9, 5, stride=2), conv(9, 8, 3, 1, bias=False)]),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("batch", [0, 1, 2, 37])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.usefixtures("keep_threads")
def test_the_same_bits(name: str, batch: int, threads: int) -> None:
    shape, make = CHAINS[name]
    layers = torch_nn.Sequential(*make()).eval()
    torch.set_num_threads(threads)
    packed = nn.Prepacked(layers, shape)
    for pattern in ("mixed", "tied", "silent"):
        spikes = SpikeTimes(spike_times((batch, *shape), STEPS, pattern, generator(3)), STEPS)
        with torch.no_grad():
            expected = layers(spikes)
        got = packed(spikes)
        if isinstance(expected, SpikeTimes):
            assert torch.equal(got.times, expected.times) and got.steps == STEPS and not got.requires_grad
            assert got.times.stride() == expected.times.stride() and got.shape[1:] == packed.output_shape
            expected, got = expected.times, got.times
        assert torch.equal(got, expected)
        assert pattern == "silent" or batch < 37 or len(got.unique()) > 2


def test_it_is_a_copy_of_the_weights_as_they_were() -> None:
    layer = linear(20, 9)
    spikes = SpikeTimes(spike_times((4, 20), STEPS, "mixed", generator(0)), STEPS)
    packed, before = nn.Prepacked([layer], (20,)), layer(spikes).times.clone()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(0.3)
    del layer
    assert torch.equal(packed(spikes).times, before)
    assert list(packed.parameters()) == [] and packed.state_dict() == {}
    assert "(20,) to (9,), steps=8" in repr(packed)


def test_it_can_stand_in_a_compiled_net() -> None:
    layer = linear(20, 9).eval()
    packed, spikes = nn.Prepacked([layer], (20,)), SpikeTimes(spike_times((4, 20), STEPS, "mixed", generator(0)), STEPS)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(packed, backend="eager")(spikes).times, layer(spikes).times)
