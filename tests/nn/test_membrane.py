"""A layer that fires and gives its potentials has the results of both passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional, nn
from firstspike.surrogate import Surrogate, rectangle, triangle

from ..samples import generator, spike_times

STEPS = 9


def hidden(pool: int, wanted: bool) -> SpikeTimes:
    """Spikes of a layer, [5, 40] or maps, with a gradient or without."""
    current = torch.rand((5, 40) if pool == 1 else (5, 3, 8, 9), generator=generator(1)).requires_grad_(wanted)
    return functional.ramp(current, STEPS)


def gradients(layer: nn.TTFSLinear, spikes: SpikeTimes, fired: SpikeTimes, membrane: Tensor | None) -> list[Tensor]:
    """Of a weighted sum of the spikes, and of the membrane where there is one."""
    loss = (fired.dense() * torch.linspace(1, 2, STEPS).view(-1, 1, 1)).sum()
    if membrane is not None:
        loss = loss + (membrane * torch.linspace(-1, 1, membrane.numel()).view(membrane.shape)).sum()
    return list(torch.autograd.grad(loss, [*layer.parameters(), spikes._anchor], retain_graph=True))


@pytest.mark.parametrize("surrogate", [triangle(), rectangle(), triangle(0.2)], ids=str)
@pytest.mark.parametrize(("decay", "synaptic_decay"), [(1.0, 0.0), (0.75, 0.0), (1.05, 0.0), (1.0, 1.0)])
@pytest.mark.parametrize("pool", [1, 2])
def test_one_product_gives_what_two_give(pool: int, decay: float, synaptic_decay: float, surrogate: Surrogate) -> None:
    size = 40 if pool == 1 else 3 * 4 * 4
    layer = nn.TTFSLinear(
        size,
        37,
        avg_pool=pool,
        steps=STEPS,
        decay=decay,
        synaptic_decay=synaptic_decay,
        surrogate=surrogate,
        generator=generator(2),
    )
    spikes = hidden(pool, wanted=True)
    fired, membrane = layer(spikes, membrane=True)
    alone, potential = layer(spikes), layer.membrane(spikes)
    assert torch.equal(fired.times, alone.times) and 0.05 < fired.silent.float().mean() < 0.95
    assert torch.equal(membrane, potential)
    for with_membrane in (False, True):
        got = gradients(layer, spikes, fired, membrane if with_membrane else None)
        expected = gradients(layer, spikes, alone, potential if with_membrane else None)
        assert all(bool(g.any()) for g in got)
        if with_membrane:  # the affine's gradient is made of the sum, not the sum of two
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=5e-5)
        else:
            assert all(map(torch.equal, got, expected))
    with torch.no_grad():
        fired, membrane = layer(spikes, membrane=True)
    assert torch.equal(fired.times, alone.times) and torch.equal(membrane, potential) and not fired.requires_grad


def test_no_samples_and_nan() -> None:
    layer = nn.TTFSLinear(40, 37, steps=STEPS, generator=generator(2))
    fired, membrane = layer(hidden(1, wanted=False)[:0], membrane=True)
    assert fired.shape == (0, 37) and membrane.shape == (STEPS, 0, 37)
    with torch.no_grad():
        layer.weight[3] = torch.nan
    spikes = SpikeTimes(spike_times((5, 40), STEPS, "mixed", generator(0)), STEPS)
    fired = layer(spikes, membrane=True)[0]
    assert torch.equal(fired.times, layer(spikes).times) and bool(fired.silent[:, 3].all())
