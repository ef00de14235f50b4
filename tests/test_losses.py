"""Losses on times: values worked out by hand, gradients against autograd through the dense train."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, encode, functional, losses, nn
from firstspike.surrogate import atan, triangle

from .samples import SILENT, generator

T = 4
SPIKES = SpikeTimes(torch.tensor([[0, 3, SILENT], [SILENT, SILENT, SILENT]], dtype=torch.uint8), T)


def test_values() -> None:
    labels = torch.tensor([1, 0])
    assert losses.times(SPIKES).tolist() == [[0, 3, 4], [4, 4, 4]]
    assert float(losses.target_times(SPIKES, torch.tensor([[0, 1, 4], [4, 4, 2]]))) == pytest.approx((4 + 4) / 16 / 6)
    assert float(losses.margin(SPIKES, labels)) == pytest.approx(((1 + 3 - 0) + (1 + 4 - 4)) / 2 / T)
    assert float(losses.margin(SPIKES[:1], torch.tensor([0]), 2.0)) == 0  # 0 + 2 is before 3
    rows = torch.tensor([[0.0, -3, -4], [-4, -4, -4]]) / 0.5
    expected = torch.nn.functional.cross_entropy(rows, labels)
    assert float(losses.first_spike_cross_entropy(SPIKES, labels, tau=0.5)) == pytest.approx(float(expected))
    assert float(losses.spike_count(SPIKES)) == pytest.approx(2 / 6)
    assert float(losses.latency(SPIKES)) == pytest.approx((0 + 3 + 4 * 4) / T / 6)
    membrane = torch.zeros(T, 2, 3)
    membrane[-1] = torch.tensor([[2.0, 0, 0.25], [1.0, -1, 0.5]])
    assert float(losses.existence(SPIKES, membrane)) == pytest.approx((0.75 + 0 + 2 + 0.5) / 6)


LOSSES: dict[str, tuple[Callable[[SpikeTimes], Tensor], Callable[[Tensor], Tensor]]] = {
    "count": (losses.spike_count, lambda x: x.sum() / x[0].numel()),
    "latency": (losses.latency, lambda x: 1 - ((1 - torch.arange(8.0) / 8).view(-1, 1, 1) * x).sum() / x[0].numel()),
    **{
        form: (
            lambda s, form=form: losses.spike_cost(s, form),  # type: ignore[misc]
            lambda x, form=form: (losses.COST_FORMS[form](1 - torch.arange(8.0) / 8).view(-1, 1, 1) * x).sum() / x[0].numel(),  # type: ignore[misc]
        )
        for form in losses.COST_FORMS
    },
    "targets": (
        lambda s: losses.target_times(s, torch.tensor(3.0)),
        lambda x: ((8 + ((torch.arange(8.0) - 8).view(-1, 1, 1) * x).sum(0) - 3) / 8).square().mean(),
    ),
}


@pytest.mark.parametrize("source", ["support", "every step", "dense"])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str, source: str) -> None:
    ours, plain = LOSSES[name]
    current = torch.rand(3, 40, generator=generator(0)).mul(0.5).requires_grad_()
    surrogate = triangle() if source == "support" else atan()
    spikes = functional.ramp(current, 8, surrogate=surrogate)
    if source == "dense":
        spikes = SpikeTimes.from_dense(spikes.dense())
    value = ours(spikes)
    expected = plain(functional.ramp(current, 8, surrogate=surrogate).dense())
    torch.testing.assert_close(value, expected)
    (got,) = torch.autograd.grad(value, current)
    (want,) = torch.autograd.grad(expected, current)
    assert want.abs().max() > 0
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("learned", [False, True])
def test_existence_asks_for_the_threshold_of_the_layer(learned: bool) -> None:
    layer = nn.TTFSLinear(20, 30, steps=8, threshold=2.0, generator=generator(0))
    if learned:
        layer.threshold = torch.nn.Parameter(torch.full((30,), 2.0))
    spikes, membrane = layer(encode.latency(torch.rand(5, 20, generator=generator(1)), steps=8), membrane=True)
    assert float(losses.existence(spikes, membrane, threshold=1.0 if learned else 2.0).detach()) > 0


def test_existence_wakes_a_silent_layer() -> None:
    layer = nn.TTFSLinear(20, 9, steps=8, generator=generator(0))
    with torch.no_grad():
        layer.weight.abs_().neg_()
        layer.bias.fill_(0.01)
    x = SpikeTimes(torch.randint(0, 8, (16, 20), generator=generator(1)).to(torch.uint8), 8)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    shares = []
    for _ in range(40):
        spikes, membrane = layer(x, membrane=True)
        shares.append(float(losses.spike_count(spikes).detach()))
        loss = losses.existence(spikes, membrane)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert shares[0] == 0 and shares[-1] > 0.9


def test_penalties_are_on_the_device_of_the_spikes() -> None:
    spikes = SpikeTimes(torch.tensor([[2, 255]], dtype=torch.uint8), 8)
    with torch.device("meta"):
        assert losses.latency(spikes).item() == 0.625 and losses.spike_count(spikes).item() == 0.5


def test_a_small_tau_leaves_the_loss_a_number() -> None:
    silent = SpikeTimes(torch.full((2, 3), SILENT, dtype=torch.uint8), 200)
    loss = losses.first_spike_cross_entropy(silent, torch.tensor([0, 1]), tau=1e-37)
    assert loss.item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("batch", [1, 6, 16])
def test_penalties_of_windows_have_the_gradient_of_values(batch: int) -> None:
    layer = nn.WindowedLinear(20, 12, steps=16, normalization=False, generator=generator(0))
    spikes = layer(nn.WindowedEncoder()(torch.rand(batch, 20, generator=generator(1))))
    found, expected = (
        torch.autograd.grad(loss, layer.weight, retain_graph=True)[0]
        for loss in (losses.latency(spikes), 1 - functional.windowed_values(spikes).mean())
    )
    assert torch.equal(found, expected) and found.abs().max() > 0
    assert losses.latency(spikes.detach()).item() == pytest.approx(losses.latency(spikes).item())
    assert torch.equal(losses.times(spikes).detach(), losses.times(spikes.detach()))
    (of_times,) = torch.autograd.grad(losses.times(spikes).mean() / 16, layer.weight)
    torch.testing.assert_close(of_times, expected)
    with pytest.raises(TypeError, match=r"losses\.spike_cost"):
        losses.spike_count(spikes)


@pytest.mark.parametrize("form", losses.COST_FORMS)
def test_cost_of_windows_has_the_gradient_of_a_twin_in_float64(form: str) -> None:
    current, steps, clip = torch.randn(40, 30, generator=generator(0)).requires_grad_(), 8, 1.5
    twin = current.detach().double().requires_grad_()
    value = losses.spike_cost(functional.windowed_fire(current, torch.tensor([clip]), steps), form)
    share = (twin / clip).clamp(0, 1)
    levels = share + (torch.floor(steps * share.detach() + 0.5) / steps - share.detach())
    expected = {"mean": levels, "sqrt": (levels + 0.02).sqrt() - 0.02**0.5, "ratio": levels / (levels + 0.1)}[form].mean()
    torch.testing.assert_close(value.double(), expected)
    torch.testing.assert_close(
        losses.spike_cost(functional.windowed_fire(current.detach(), torch.tensor([clip]), steps), form), value
    )
    (found,), (wanted,) = torch.autograd.grad(value, current), torch.autograd.grad(expected, twin)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-9)
