"""Layers of windows as modules: their normalisation as torch's, folding, residual blocks, settings, memory and learning."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from firstspike import functional, models, nn
from firstspike.nn.settings import Settings

from ..samples import Refusal, generator, refusals


def net(steps: int = 16, **options: Any) -> torch.nn.Sequential:
    """An encoder, a convolution, a residual block with each shortcut, a linear layer and a readout."""
    g = generator(0)

    def conv(inputs: int, outputs: int, **more: Any) -> nn.WindowedConv2d:
        return nn.WindowedConv2d(inputs, outputs, 3, padding=1, steps=steps, generator=g, **options, **more)

    return torch.nn.Sequential(
        nn.WindowedEncoder(),
        conv(1, 6),
        nn.Residual([conv(6, 6), conv(6, 6, groups=6)]),
        nn.EarliestPool2d(2),
        nn.Residual([conv(6, 9, stride=2), conv(9, 9)], nn.WindowedShortcut(6, 9, stride=2, generator=g)),
        nn.WindowedLinear(9, 8, avg_pool=2, steps=steps, generator=g, **options),
        nn.WindowedReadout(8, 3, generator=g),
    )


def images(number: int = 8) -> Tensor:
    """uint8 [number, 1, 8, 8]."""
    return torch.randint(0, 256, (number, 1, 8, 8), generator=generator(1), dtype=torch.uint8)


def test_normalisation_is_that_of_torch() -> None:
    """Batch statistics in training, running ones in evaluation, and every gradient of 255 levels close to no rounding."""
    spikes = functional.windowed_encode(torch.rand(40, 30, generator=generator(0)))
    layer = nn.WindowedLinear(30, 7, steps=255, clip=4.0, generator=generator(1))
    torch.nn.init.uniform_(layer.gamma, 0.5, 1.5, generator=generator(2))
    torch.nn.init.uniform_(layer.bias, 0, 1, generator=generator(2))
    norm = torch.nn.BatchNorm1d(7)
    norm.weight.data.copy_(layer.gamma.data)
    norm.bias.data.copy_(layer.bias.data)
    weight = layer.weight.detach().clone().requires_grad_()
    for _ in range(3):
        got = functional.windowed_values(layer(spikes))
        expected = (norm(F.linear(functional.windowed_values(spikes), weight)) / 4).clamp(0, 1)
        torch.testing.assert_close(got, expected, rtol=0, atol=0.51 / 255)
        at = torch.randn(got.shape, generator=generator(3))
        layer.zero_grad()
        got.backward(at)
        want = torch.autograd.grad(expected, (weight, norm.weight, norm.bias), at)
        for one, other in zip((layer.weight.grad, layer.gamma.grad, layer.bias.grad), want, strict=True):
            assert (one - other).norm() < 0.01 * other.norm()  # normalised currents are rounded
    biased = 1 - 1 / len(spikes)  # torch's variance, at first 1, is not
    variance = (norm.running_var - 0.9**3) * biased + 0.9**3
    torch.testing.assert_close(layer.running, torch.stack([norm.running_mean, variance]))
    norm.running_var.copy_(variance)
    layer.eval(), norm.eval()
    expected = (norm(F.linear(functional.windowed_values(spikes), weight)) / 4).clamp(0, 1)
    torch.testing.assert_close(functional.windowed_values(layer(spikes)), expected, rtol=0, atol=0.51 / 255)


@pytest.mark.parametrize("clip_per_channel", [False, True])
def test_folding_keeps_the_spikes(clip_per_channel: bool) -> None:
    model = net(clip_per_channel=clip_per_channel)
    for _ in range(20):
        model(images())
    model.eval()
    spikes, times = model[:2](images()), []
    for layer in (model[5], model[1]):
        layer.fold()
        assert layer.gamma is None and layer.settings()["normalization"] is False
        times.append(model[:2](images()).times)
    assert (times[-1] != spikes.times).double().mean() < 1e-3  # by rounding alone


@pytest.mark.parametrize("layer", [m for m in net().modules() if isinstance(m, Settings)], ids=lambda m: type(m).__name__)
def test_settings_build_the_module_again(layer: Any) -> None:
    made = type(layer)(**layer.settings())
    assert [p.shape for p in made.parameters()] == [p.shape for p in layer.parameters()]
    assert made.settings() == layer.settings() and repr(made) == repr(layer)


def test_learns_and_every_parameter_has_a_gradient() -> None:
    model, x, labels = net(4), images(64), torch.arange(64) % 3
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        losses.append(loss.item())
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    again = net(4)
    again.load_state_dict(model.state_dict())
    model.eval(), again.eval()
    assert torch.equal(model(x), again(x))


def test_a_pruned_shortcut_uses_the_weight_of_now() -> None:
    model = net().eval()
    shortcut = model[4].shortcut
    prune.l1_unstructured(shortcut, "weight", 0.5)
    with torch.no_grad():
        shortcut.weight_orig.mul_(2)
    assert torch.equal(model(images()), model(images()))


@pytest.mark.parametrize("steps", [16, 64])
@pytest.mark.parametrize(
    ("spec", "most"), [("784-200-200-10", 3.1), ("32C3-AP2-64C3-AP2-256-10", 3.01), ("16C3-MP2-32C3-MP2-10", 3.26)]
)
def test_memory_kept_for_backward(spec: str, most: float, steps: int) -> None:
    """Bytes that autograd holds per neuron, apart from the input: a time, also of each pooled one, and a bfloat16; moments."""
    shape = (784,) if spec.startswith("784") else (1, 28, 28)
    model = models.build(spec, input_shape=shape, steps=steps, timing="windowed")
    spikes = functional.windowed_encode(torch.rand(128, *shape, generator=generator(0)))
    kept: dict[int, int] = {}
    storages = []  # a freed one would give its address to another

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if not isinstance(x, torch.nn.Parameter) and storage.data_ptr() != spikes.times.untyped_storage().data_ptr():
            kept[storage.data_ptr()] = storage.nbytes()
            storages.append(storage)
        return x

    neurons = sum(layer.times.numel() for layer in model.observe(spikes).layers)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        model(spikes)
    assert 3 * neurons < sum(kept.values()) < most * neurons


@pytest.mark.parametrize("way", ["compiled", "copied and checkpointed"])
def test_gradients_are_the_same_in_every_way(way: str) -> None:
    def gradients(way: str = "") -> list[Tensor]:
        model, x = net(), images()  # its blocks use spikes twice
        if way == "compiled":
            x = torch.compile(model, backend="aot_eager", fullgraph=True)(x)
        for layer in [] if way == "compiled" else model:
            x = checkpoint(layer, copy.copy(x), use_reentrant=False) if way else layer(x)
        return list(torch.autograd.grad(x.sum(), list(model.parameters())))

    expected = gradients()
    assert all(torch.equal(a, b) for a, b in zip(expected, gradients(way), strict=True))


def test_spikes_that_were_written_to_have_their_own_gradient() -> None:
    spikes, weight = net()[:2](images()), torch.zeros(1, 6, 1, 1, requires_grad=True)
    spikes.times[:] = 8
    functional.windowed_conv2d(nn.EarliestPool2d(8)(spikes), weight).sum().backward()
    assert weight.grad is not None and weight.grad.flatten().tolist() == [4.0] * 6  # 8 samples of value 1/2


BAD: dict[str, Refusal] = {
    "steps": (lambda: nn.WindowedLinear(3, 4, steps=256), ValueError, "steps.*256"),
    "no steps": (lambda: nn.WindowedEncoder(0), ValueError, "steps.*0"),
    "clip of zero": (lambda: nn.WindowedLinear(3, 4, steps=4, clip=0.0), ValueError, "clip.*0"),
    "learned clip of zero": (lambda: functional.windowed_fire(torch.ones(2, 3), torch.zeros(1), 4), ValueError, "clip.*0"),
    "a net of doubles": (lambda: net().double()(images()), TypeError, "weight.*float64"),
    "groups": (lambda: nn.WindowedConv2d(3, 4, 3, groups=2, steps=4), ValueError, "groups.*2"),
    "features": (lambda: nn.WindowedLinear(3, 4, steps=4)(nn.WindowedEncoder()(torch.ones(2, 5))), ValueError, "5"),
    "flat spikes": (lambda: net()[1](nn.WindowedEncoder()(torch.ones(2, 5))), ValueError, "spikes"),
    "a tensor": (lambda: net()[1](images()), TypeError, "spikes.*Tensor"),
    "one sample": (lambda: nn.WindowedLinear(5, 4, steps=4)(nn.WindowedEncoder()(torch.ones(1, 5))), ValueError, "two"),
    "shortcut of another shape": (
        lambda: nn.Residual([nn.WindowedLinear(5, 4, steps=4)])(nn.WindowedEncoder()(torch.ones(2, 5))),
        ValueError,
        "current",
    ),
    "layers without a last": (lambda: nn.Residual([torch.nn.Identity()]), TypeError, "layers"),
}

test_refusals = refusals(**BAD)
