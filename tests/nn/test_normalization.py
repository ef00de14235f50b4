"""Weight normalisation: mean, variance, gradient, and the gains where the paper's derivation does not hold."""

from __future__ import annotations

import pytest
import torch

from firstspike import SpikeTimes, functional, init, nn

from ..samples import generator


def uniform(*shape: int, steps: int) -> SpikeTimes:
    """Every neuron fires once, uniformly over the steps: the case of the paper's derivation."""
    return SpikeTimes(torch.randint(0, steps, shape, generator=generator(1)).to(torch.uint8), steps)


def psc_variance(layer: nn.Synapse, spikes: SpikeTimes) -> torch.Tensor:
    """Variance over samples and outputs of the current in each step, [T]."""
    v = functional.integrate(spikes, layer.weight, avg_pool=layer.avg_pool)
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
    layer = nn.normalize(nn.TTFSConv2d(4, 3, 3, steps=8, affine=affine, generator=generator(0)))
    with torch.no_grad():
        layer.gamma.uniform_(0.5, 2, generator=generator(1))
    plain = layer.gamma.view(-1, 1, 1, 1) * layer.weight
    torch.testing.assert_close(layer.effective_weight_and_bias()[0], plain)
    grad = torch.randn(plain.shape, generator=generator(2))
    parameters = [layer.parametrizations.weight.original, layer.gamma]
    gradients = [
        torch.autograd.grad(weight, parameters, grad) for weight in (layer.effective_weight_and_bias()[0], plain)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_other_parametrizations_stay_in_force() -> None:
    layer = nn.normalize(nn.TTFSLinear(4, 3, steps=8, generator=generator(0)))
    before = layer.effective_weight_and_bias()[0]
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", torch.nn.Threshold(0.1, 0.0))
    torch.testing.assert_close(layer.effective_weight_and_bias()[0], before * (before > 0.1))


@pytest.mark.parametrize("steps", [2, 8, 32])
def test_linear_psc(steps: int) -> None:
    layer = nn.normalize(nn.TTFSLinear(600, 500, steps=steps, generator=generator(0)))
    variance = psc_variance(layer, uniform(20, 600, steps=steps))
    torch.testing.assert_close(variance, torch.ones(steps), rtol=0.2, atol=0)


@pytest.mark.parametrize(("pool", "steps"), [(2, 8), (3, 8), (2, 32), (2, 2)])
def test_psc_behind_average_pooling_needs_the_gain(pool: int, steps: int) -> None:
    layer = nn.normalize(nn.TTFSLinear(600, 500, steps=steps, avg_pool=pool, generator=generator(0)))
    assert layer.parametrizations.weight[0].gain == layer.gain == init.pool_gain(pool, steps)
    variance = psc_variance(layer, uniform(20, 6, 10 * pool, 10 * pool, steps=steps)).mean().item()
    assert variance == pytest.approx(1, rel=0.1)
    plain = nn.normalize(nn.TTFSLinear(600, 500, steps=steps, generator=generator(0)))
    plain.avg_pool = pool  # the same without the gain
    assert psc_variance(plain, uniform(20, 6, 10 * pool, 10 * pool, steps=steps)).mean().item() < 0.7


def test_directly_coded_current_needs_the_gain() -> None:
    layer = nn.normalize(nn.DirectLinear(600, 500, steps=8, generator=generator(0)))
    x = torch.randn(20, 600, generator=generator(1))
    assert (x @ layer.weight.T).var().item() == pytest.approx(1, rel=0.05)


def test_last_potential_of_an_integrating_layer_has_variance_one() -> None:
    layer = nn.normalize(nn.Integrate(600, 500, steps=8, affine=None, generator=generator(0)))
    assert layer(uniform(20, 600, steps=8))[-1].var().item() == pytest.approx(1, rel=0.1)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="steps must be from 1 to 254, got 0"):
        nn.WeightNormalization(0, 4)
    with pytest.raises(ValueError, match="fan_in must be at least 1, got 0"):
        nn.WeightNormalization(8, 0)
    with pytest.raises(ValueError, match="gain must be a finite number"):
        nn.WeightNormalization(8, 4, gain=-1.0)
    with pytest.raises(TypeError, match=r"layer must be a layer of firstspike\.nn"):
        nn.normalize(torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layer must not be normalised yet"):
        nn.normalize(nn.normalize(nn.TTFSLinear(2, 2, steps=8)))
