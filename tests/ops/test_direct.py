"""The gradient of directly coded convolutions: equal to torch's, and the same bits for any number of threads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import nn
from firstspike.nn.direct import constant_current
from firstspike.ops import direct

from ..compare import same_on_threads
from ..samples import generator

# Shape of the data, outputs and kernel, stride, padding.
CASES = {
    "one channel": ((5, 1, 12, 11), (32, 3, 3), (1, 1), (1, 1)),
    "colours": ((17, 3, 9, 8), (40, 3, 3), (1, 1), (1, 1)),
    "large kernel": ((2, 1, 13, 13), (7, 5, 5), (2, 2), (2, 2)),
    "rectangular": ((3, 2, 10, 7), (17, 4, 1), (3, 1), (0, 2)),
    "many channels": ((2, 20, 6, 6), (70, 3, 3), (1, 1), (1, 0)),
    "one sample, one output": ((1, 1, 3, 3), (1, 3, 3), (1, 1), (0, 0)),
    "no sample": ((0, 2, 6, 6), (5, 3, 3), (1, 1), (1, 1)),
}


def arguments(name: str) -> tuple[Tensor, Tensor, Tensor, tuple[int, int], tuple[int, int]]:
    """Data, weight, bias, stride and padding."""
    shape, (outputs, *kernel), stride, padding = CASES[name]
    x = torch.randn(shape, generator=generator(0))
    weight = torch.randn(outputs, shape[1], *kernel, generator=generator(1))
    return x, weight, torch.randn(outputs, generator=generator(2)), stride, padding


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_torch(name: str) -> None:
    x, weight, bias, stride, padding = arguments(name)
    expected = [t.double().requires_grad_() for t in (x, weight, bias)]
    got = [t.clone().requires_grad_() for t in (x, weight, bias)]
    wanted = torch.conv2d(*expected, stride, padding)
    current = direct.direct_convolution(*got, stride, padding)
    torch.testing.assert_close(current.double(), wanted, rtol=1e-5, atol=1e-5)
    gradient = torch.randn(current.shape, generator=generator(3))
    current.backward(gradient)
    wanted.backward(gradient.double())
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-4)


def learned() -> list[Tensor]:
    """Gradients of a first layer as in a net for images."""
    layer = nn.DirectConv2d(1, 32, 3, steps=8, padding=1, normalization=True, generator=generator(0))
    spikes = layer(torch.rand(64, 1, 28, 28, generator=generator(1)))
    spikes.dense().backward(torch.randn(8, *spikes.shape, generator=generator(2)))
    return [p.grad for p in layer.parameters() if p.grad is not None]


def test_the_same_bits_for_any_number_of_threads() -> None:
    expected = same_on_threads(learned, (1, 2, 3, 5))
    assert len(expected) == 3 and all(bool(g.any()) for g in expected)


def test_exact_convolutions_restore_torchs_settings() -> None:
    """On CUDA torch's convolutions round to TF32 by default; here only the settings can be looked at."""
    cudnn: Any = torch.backends.cudnn
    owner, name, exact = (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32", False)
    before = getattr(owner, name), cudnn.deterministic
    with pytest.raises(RuntimeError, match="inside"), direct.exact_convolutions():
        assert (getattr(owner, name), cudnn.deterministic) == (exact, True) != before
        raise RuntimeError("inside")
    assert (getattr(owner, name), cudnn.deterministic) == before


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"), [((6, 4), 3, (1, 2), 0), ((12, 2), 5, (1, 3), 2), ((6, 2), 3, (1, 2), 1)]
)
def test_one_channel_and_one_column_with_a_stride(size, kernel, stride, padding) -> None:
    """oneDNN's kernels for AVX-512 (torch 2.13) give other numbers for data that are in both memory formats at once."""
    x = torch.rand(2, 1, *size, generator=generator(0))
    weight, bias = torch.randn(16, 1, kernel, kernel, generator=generator(1)), torch.zeros(16)
    options = {"stride": stride, "padding": padding}
    expected = torch.conv2d(x.double(), weight.double(), bias.double(), **options)
    assert expected.shape[3] == 1
    marked = x[:, 0].unsqueeze(3).permute(0, 3, 1, 2)  # as channels-last maps of one channel are
    for given in (x, marked, x.transpose(0, 2).clone().transpose(0, 2)):
        got = constant_current(given, weight, bias, stride, (padding, padding))
        torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)
