"""The record of support entries: slots, overflow of slots, and a fixed capacity."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional
from firstspike.ops import _cuda
from firstspike.surrogate import triangle

from ..samples import generator, layer

STEPS, OUTPUTS = 16, 70


def entries(spikes: SpikeTimes, tile: int) -> dict[tuple[int, int], float]:
    """The support of a flat layer as {(neuron, step): slope}, from its groups."""
    assert spikes._support is not None
    offset, slope, (step, lane) = spikes._support
    groups = -(-OUTPUTS // tile)
    found = {}
    for group in range(len(offset) - 1):
        part = slice(int(offset[group]), int(offset[group + 1]))
        first = group // groups * OUTPUTS + group % groups * tile
        order = list(zip(step[part].tolist(), lane[part].tolist(), strict=True))
        assert order == sorted(set(order)), "entries come by step, then by lane"
        found.update({(first + i, t): s for (t, i), s in zip(order, slope[part].tolist(), strict=True)})
    assert len(found) == len(slope)
    return found


def fired(weight_seed: int = 0) -> tuple[SpikeTimes, Tensor]:
    """A layer's spikes and its weight."""
    case = layer((5, 40), (OUTPUTS, 40), STEPS, seed=weight_seed)
    weight = case.weight.clone().requires_grad_()
    return functional.linear(SpikeTimes(case.times, STEPS), weight, case.bias), weight


def test_support_is_the_cpus(host: ModuleType, request: pytest.FixtureRequest) -> None:
    from firstspike._base.kernels import cpu

    expected = entries(fired()[0], cpu.tile)
    request.getfixturevalue("on_host")
    got = entries(fired()[0], _cuda.TILE)
    assert len(got) > OUTPUTS and got.keys() == expected.keys()
    assert all(abs(got[key] - expected[key]) < 1e-6 for key in got)


@pytest.mark.parametrize("slot", [0, 1, 2, 16])
@pytest.mark.usefixtures("on_host")
def test_slots_of_any_size_give_the_same_support(monkeypatch: pytest.MonkeyPatch, slot: int) -> None:
    expected = fired()[0]._support
    ramp = functional.ramp(torch.linspace(0, 1, 70).reshape(2, 35).requires_grad_(), STEPS)._support
    monkeypatch.setattr(_cuda, "SLOT", slot)
    again = functional.ramp(torch.linspace(0, 1, 70).reshape(2, 35).requires_grad_(), STEPS)._support
    assert expected is not None and ramp is not None and again is not None
    for got, wanted in ((fired()[0]._support, expected), (again, ramp)):
        assert got is not None and all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


@pytest.mark.usefixtures("on_host")
def test_a_fixed_capacity_gives_the_same_gradients_or_none_at_all() -> None:
    def gradients(capacity: float | None) -> list[Tensor]:
        current = torch.linspace(0, 1.5, 200).reshape(5, 40).requires_grad_()
        weight = layer((5, 40), (OUTPUTS, 40), STEPS).weight.clone().requires_grad_()

        def step() -> None:
            out = functional.linear(functional.ramp(current, STEPS), weight).dense()
            out.backward(torch.randn(out.shape, generator=generator(3)))

        if capacity is None:
            step()
        else:
            with _cuda.support_capacity(capacity):
                step()
        assert weight.grad is not None and current.grad is not None
        return [weight.grad, current.grad]

    expected = gradients(None)
    for got, wanted in zip(gradients(STEPS), expected, strict=True):
        assert torch.equal(got, wanted)
    for got in gradients(0.5):
        assert torch.isnan(got).any(), "too small a capacity must show"


@pytest.mark.usefixtures("on_host")
def test_capacity_is_the_length() -> None:
    with _cuda.support_capacity(3):
        spikes, _ = fired()
    assert spikes._support is not None and spikes._support.place.shape == (2, 5 * OUTPUTS * 3)
    assert _cuda.fixed_entries(10, 8) is None, "the capacity ends with the block"


@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_capacity_must_be_positive(value: float) -> None:
    with pytest.raises(ValueError, match="entries_per_neuron must be positive"):
        _cuda.support_capacity(value)


@pytest.mark.usefixtures("on_host")
def test_too_small_a_capacity_shows_in_every_gradient() -> None:
    """Also in those of neurons all of whose entries were dropped, which would be 0."""
    weight = torch.full((1, 1), 0.1, requires_grad=True)
    late = SpikeTimes(torch.full((1, 1), 5, dtype=torch.uint8), 8)
    with _cuda.support_capacity(3):
        functional.linear(late, weight, surrogate=triangle(2.0)).dense().sum().backward()
    assert weight.grad is not None and weight.grad.isnan().all()
    case = layer((1, 40), (64, 40), STEPS)
    weight, bias = case.weight.clone().requires_grad_(), torch.zeros(64, requires_grad=True)
    with _cuda.support_capacity(0.1):
        functional.linear(SpikeTimes(case.times, STEPS), weight, bias, surrogate=triangle(2.0)).dense().sum().backward()
    assert weight.grad is not None and weight.grad.isnan().all()
    assert bias.grad is not None and bias.grad.isnan().all()


@pytest.mark.usefixtures("on_host")
def test_a_support_without_entries_has_gradients_of_zero() -> None:
    """Whatever was in the memory of its slopes before; torch fills new memory with NaN where it is deterministic."""
    weight = torch.full((3, 4), 0.1, requires_grad=True)
    silent = SpikeTimes(torch.full((2, 4), 255, dtype=torch.uint8), 8)
    torch.use_deterministic_algorithms(True)
    try:
        with _cuda.support_capacity(3):
            out = functional.linear(silent, weight)
            out.dense().sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert out._support is not None and int(out._support.offset[-1]) == 0
    assert weight.grad is not None and torch.equal(weight.grad, torch.zeros(3, 4))
