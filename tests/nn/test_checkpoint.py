"""Layers under torch's checkpoint: they keep their input alone, and the gradients have the same bits."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from firstspike import encode, nn

from ..samples import generator


def test_gradients_are_the_same_and_only_inputs_are_kept() -> None:
    layers = [
        nn.TTFSConv2d(1, 8, 3, padding=1, steps=8, generator=generator(0), normalization=True),
        nn.TTFSConv2d(8, 8, 3, avg_pool=2, steps=8, dropout=0.2, generator=generator(1)),
        nn.Integrate(8 * 4 * 4, 5, steps=8, generator=generator(2)),
    ]
    parameters = [p for layer in layers for p in layer.parameters()]
    signal = encode.latency(torch.rand(6, 1, 12, 12, generator=generator(3)), 8)

    def kept_and_gradients(recompute: bool) -> tuple[int, list[torch.Tensor]]:
        torch.manual_seed(0)  # what dropout draws from
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            x = signal
            for layer in layers[:-1]:
                x = checkpoint(layer, x, use_reentrant=False) if recompute else layer(x)
        return sum(sizes), list(torch.autograd.grad(layers[-1](x)[-1].square().sum(), parameters))

    kept, expected = kept_and_gradients(False)
    kept_less, got = kept_and_gradients(True)
    assert kept > 6 * 8 * 12 * 12 and kept_less < 20
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one, other) and other.abs().sum() > 0
