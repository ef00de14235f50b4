"""The timed calls compute what the layers compute."""

import pytest
import torch
from benchmarks.kernels import LayerCalls, anchor

from firstspike import functional, nn


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_calls_give_the_layers_times_and_gradients(kind, pool):
    generator = torch.Generator().manual_seed(0)
    options = {"steps": 6, "avg_pool": pool, "generator": generator, "normalization": False, "affine": None}
    if kind == "conv":
        layer = nn.TTFSConv2d(3, 20, 3, padding=1, **options)
    else:
        layer = nn.TTFSLinear(3 * (8 // pool) ** 2, 20, **options)
    with torch.no_grad():
        layer.bias.uniform_(-0.1, 0.3, generator=generator)
    x = functional.ramp(torch.randn(4, 3, 8, 8, generator=generator).requires_grad_(), 6)
    y, calls = layer(x), LayerCalls.of(layer, x)
    for record in (True, False):
        out = calls.forward(record=record)()
        assert torch.equal(out.times, y.times) and out.requires_grad == record and not y.silent.all()
    gradient = torch.randn(anchor(y).shape, generator=torch.Generator().manual_seed(0))
    at_weight, at_input = torch.autograd.grad(anchor(y), [layer.weight, anchor(x)], gradient)
    assert torch.equal(calls.weight_gradient()(), at_weight) and at_weight.abs().max() > 0
    assert torch.equal(calls.input_gradient()(), at_input) and at_input.abs().max() > 0
