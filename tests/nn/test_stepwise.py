"""What layers have in common: parameters, affine, gain, initialisation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, nn

from ..samples import generator

LAYERS = [
    (nn.DirectLinear, (12, 5), 8**-0.5),
    (nn.DirectConv2d, (3, 5, 3), 8**-0.5),
    (nn.TTFSLinear, (12, 5), 1.0),
    (nn.TTFSConv2d, (3, 5, 3), 1.0),
    (nn.Integrate, (12, 5), 8**-0.5),
]


def make(kind: Any, sizes: tuple[int, ...], seed: int = 0, **options: Any) -> nn.Synapses:
    """A layer with 8 steps."""
    return kind(*sizes, steps=8, generator=generator(seed), **options)


def data(layer: nn.Synapses, seed: int = 1) -> Any:
    """Input of a layer: floats, or spike times with silent ones."""
    g = generator(seed)
    shape = (4, 3, 6, 6) if layer.weight.dim() == 4 else (4, 12)
    if isinstance(layer, (nn.DirectLinear, nn.DirectConv2d)):
        return torch.rand(shape, generator=g)
    times = torch.randint(0, 10, shape, generator=g)
    return SpikeTimes(times.where(times < 8, 255).to(torch.uint8), 8)


def values(out: SpikeTimes | Tensor) -> Tensor:
    """Something differentiable of a layer's output."""
    return out.dense() if isinstance(out, SpikeTimes) else out


@pytest.mark.parametrize(("kind", "sizes", "gain"), LAYERS)
def test_parameters(kind: Any, sizes: tuple[int, ...], gain: float) -> None:
    layer = make(kind, sizes)
    assert {name: len(p) for name, p in layer.named_parameters()} == {"weight": 5, "gamma": 5, "bias": 5}
    assert layer.gain == pytest.approx(gain)
    assert layer.weight.std().item() == pytest.approx(gain * (8 / layer.fan_in) ** 0.5, rel=0.25)
    assert "steps=8" in repr(layer)
    one = make(kind, sizes, affine="layer")
    assert one.gamma.shape == one.bias.shape == (1,)
    assert [name for name, _ in make(kind, sizes, affine=None).named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in make(kind, sizes, affine=None, bias=False).named_parameters()] == ["weight"]


@pytest.mark.parametrize("affine", ["channel", "layer", None])
@pytest.mark.parametrize(("kind", "sizes", "gain"), LAYERS)
def test_synapse_is_what_acts(kind: Any, sizes: tuple[int, ...], gain: float, affine: nn.Affine) -> None:
    layer, plain = make(kind, sizes, affine=affine), make(kind, sizes, affine=None)
    with torch.no_grad():
        layer.bias.uniform_(0.05, 0.1, generator=generator(2))
        if layer.gamma is not None:
            layer.gamma.uniform_(0.5, 2, generator=generator(3))
        weight, bias = layer.effective_weight_and_bias()
        assert bias.shape == (5,)
        scale = 1 if layer.gamma is None else layer.gamma.expand(5).view(-1, *[1] * (weight.dim() - 1))
        assert torch.equal(weight, layer.weight * scale)
        plain.weight.copy_(weight)
        plain.bias.copy_(bias)
    x = data(layer)
    assert torch.equal(values(layer(x)), values(plain(x)))


def test_beta_of_a_synaptic_current_counts_less_and_folds_to_the_bit() -> None:
    layer = make(nn.TTFSLinear, (12, 5), synaptic_decay=1.0)
    with torch.no_grad():
        layer.bias.uniform_(0.05, 0.1, generator=generator(2))
    beta, (_, bias) = layer.bias.clone(), layer.effective_weight_and_bias()
    assert torch.equal(bias, beta / 4)  # 2 / (8 + 1), to a power of two
    x = data(layer)
    expected = values(layer(x))
    layer.fold()
    assert torch.equal(layer.bias, beta) and torch.equal(values(layer(x)), expected)


@pytest.mark.parametrize("affine", ["channel", "layer"])
@pytest.mark.parametrize(("kind", "sizes", "gain"), LAYERS)
def test_every_parameter_gets_a_gradient(kind: Any, sizes: tuple[int, ...], gain: float, affine: nn.Affine) -> None:
    layer = make(kind, sizes, affine=affine, normalization=True)
    out = values(layer(data(layer)))
    out.backward(torch.randn(out.shape, generator=generator(4)))
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("kind", "sizes", "gain"), LAYERS)
def test_autocast_changes_nothing(kind: Any, sizes: tuple[int, ...], gain: float) -> None:
    layer = make(kind, sizes)
    x = data(layer)
    expected = values(layer(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = values(layer(x))
    assert got.dtype == torch.float32 and torch.equal(got, expected)


def test_reset_parameters_draws_from_the_generator() -> None:
    layer = make(nn.TTFSLinear, (12, 5))
    with torch.no_grad():
        layer.gamma.fill_(3)
        layer.bias.fill_(3)
    for init, bound in (("ettfs", (3 * 8 / 12) ** 0.5), ("kaiming", (6 / 12) ** 0.5), ("torch", (1 / 12) ** 0.5)):
        layer.reset_parameters(init, generator=generator(5))
        assert 0.8 * bound < layer.weight.abs().max() <= bound
        assert torch.equal(layer.weight, make(nn.TTFSLinear, (12, 5), 5, init=init).weight)
    assert (layer.gamma == 1).all() and (layer.bias == 0).all()
    normalized = make(nn.TTFSLinear, (12, 5), normalization=True)
    normalized.reset_parameters("torch", generator=generator(5))
    assert torch.equal(normalized.weight, layer.weight)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_layer_stays_frozen_when_it_is_folded(frozen: bool) -> None:
    layer = nn.TTFSLinear(4, 3, steps=4, normalization=True, bias=True).requires_grad_(not frozen).fold()
    assert {parameter.requires_grad for parameter in layer.parameters()} == {not frozen}
