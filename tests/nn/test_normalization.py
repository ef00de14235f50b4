"""Weight normalisation: mean, variance, gradient, and the gains where the paper's derivation does not hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional, init, nn

from ..samples import generator


def uniform(*shape: int, steps: int) -> SpikeTimes:
    """Every neuron fires once, uniformly over the steps: the case of the paper's derivation."""
    return SpikeTimes(torch.randint(0, steps, shape, generator=generator(1)).to(torch.uint8), steps)


def psc_variance(layer: nn.Synapses, spikes: SpikeTimes) -> torch.Tensor:
    """Variance over samples and outputs of the current in each step, [T]."""
    v = functional.integrate(spikes, layer.effective_weight_and_bias()[0], avg_pool=layer.avg_pool)
    return torch.cat([v[:1], v.diff(dim=0)]).flatten(1).var(1)


def test_mean_and_deviation() -> None:
    weight = torch.randn(50, 40, generator=generator(0)) * 3 + 7
    normal = nn.WeightNormalization(8, 40)(weight)
    assert normal.mean().item() == pytest.approx(0, abs=1e-6)
    assert normal.std(correction=0).item() == pytest.approx((8 / 40) ** 0.5, rel=1e-5)
    torch.testing.assert_close(nn.WeightNormalization(8, 40, gain=3.0)(weight), 3 * normal)
    torch.testing.assert_close(nn.WeightNormalization(8, 40)(weight * 5 - 2), normal, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("affine", ["channel", "layer"])
def test_synapse_in_one_pass_is_gamma_times_the_normalised_weight(affine: nn.Affine) -> None:
    layer = nn.TTFSConv2d(4, 3, 3, steps=8, affine=affine, generator=generator(0), normalization=True)
    with torch.no_grad():
        layer.gamma.uniform_(0.5, 2, generator=generator(1))
    plain = layer.gamma.view(-1, 1, 1, 1) * layer.normalization(layer.weight)
    torch.testing.assert_close(layer.effective_weight_and_bias()[0], plain)
    grad = torch.randn(plain.shape, generator=generator(2))
    parameters = [layer.weight, layer.gamma]
    gradients = [torch.autograd.grad(weight, parameters, grad) for weight in (layer.effective_weight_and_bias()[0], plain)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class Halved(torch.nn.Module):
    """A normalisation of one's own."""

    def forward(self, weight: Tensor, gamma: Tensor | None) -> Tensor:
        return weight / 2 if gamma is None else gamma.view(-1, 1) * weight / 2


def test_a_normalisation_of_ones_own() -> None:
    layer = nn.TTFSLinear(4, 3, steps=8, normalization=Halved(), generator=generator(0))
    assert torch.equal(layer.effective_weight_and_bias()[0], layer.weight / 2)
    layer.normalization = None
    assert torch.equal(layer.effective_weight_and_bias()[0], layer.weight)


def test_a_quantiser_is_put_on_what_acts() -> None:
    class Rounded(torch.nn.Module):
        def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
            return weight.round(), bias

    layer = nn.TTFSLinear(40, 30, steps=8, normalization=True, generator=generator(0))
    weight, _ = layer.effective_weight_and_bias()
    layer.quantizer = Rounded()
    assert torch.equal(layer.effective_weight_and_bias()[0], weight.round())
    folded = layer.fold()
    assert folded is layer and layer.quantizer is None and layer.normalization is None and layer.gamma is None
    assert torch.equal(layer.effective_weight_and_bias()[0], weight.round())


@pytest.mark.parametrize("steps", [2, 8, 32])
def test_linear_psc(steps: int) -> None:
    layer = nn.TTFSLinear(600, 500, steps=steps, generator=generator(0), normalization=True)
    variance = psc_variance(layer, uniform(20, 600, steps=steps))
    torch.testing.assert_close(variance, torch.ones(steps), rtol=0.2, atol=0)


@pytest.mark.parametrize(("pool", "steps"), [(2, 8), (3, 8), (2, 32), (2, 2)])
def test_psc_behind_average_pooling_needs_the_gain(pool: int, steps: int) -> None:
    layer = nn.TTFSLinear(600, 500, steps=steps, avg_pool=pool, generator=generator(0), normalization=True)
    assert layer.normalization.gain == layer.gain == init.pool_gain(pool, steps)
    variance = psc_variance(layer, uniform(20, 6, 10 * pool, 10 * pool, steps=steps)).mean().item()
    assert variance == pytest.approx(1, rel=0.1)
    plain = nn.TTFSLinear(600, 500, steps=steps, generator=generator(0), normalization=True)
    plain.avg_pool = pool  # the same without the gain
    assert psc_variance(plain, uniform(20, 6, 10 * pool, 10 * pool, steps=steps)).mean().item() < 0.7


def test_per_output_each_neuron_has_mean_0_and_its_setting_is_kept() -> None:
    layer = nn.TTFSConv2d(4, 3, 3, steps=8, normalization="channel", affine=None, bias=False, generator=generator(0))
    with torch.no_grad():
        layer.weight += torch.arange(3.0).view(-1, 1, 1, 1)
    weight = layer.effective_weight_and_bias()[0].flatten(1)
    torch.testing.assert_close(weight.mean(1), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(weight.std(1, correction=0), torch.full((3,), (8 / 36) ** 0.5))
    assert layer.settings()["normalization"] == "channel"
    assert isinstance(layer.normalization, nn.WeightNormalization)
    again = nn.WeightNormalization(**layer.normalization.settings())
    assert again.granularity == "channel" and "granularity='channel'" in repr(again)
    assert torch.equal(again(layer.weight), layer.normalization(layer.weight))
