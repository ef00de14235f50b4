"""The record of support entries: slots of any size, and its shapes for torch.compile."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from firstspike import SpikeTimes, functional, ops
from firstspike._base.kernels import cpu
from firstspike.ops import _cuda

from ..samples import layer

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


def fired() -> SpikeTimes:
    """A layer's spikes."""
    case = layer((5, 40), (OUTPUTS, 40), STEPS)
    return functional.linear(SpikeTimes(case.times, STEPS), case.weight.clone().requires_grad_(), case.bias)


def test_support_is_the_cpus(host: ModuleType, request: pytest.FixtureRequest) -> None:
    expected = entries(fired(), cpu.tile)
    request.getfixturevalue("on_host")
    got = entries(fired(), _cuda.TILE)
    assert len(got) > OUTPUTS and got.keys() == expected.keys()
    assert all(abs(got[key] - expected[key]) < 1e-6 for key in got)


@pytest.mark.parametrize("slot", [0, 1, 2, 16])
@pytest.mark.usefixtures("on_host")
def test_slots_of_any_size_give_the_same_support(monkeypatch: pytest.MonkeyPatch, slot: int) -> None:
    expected = fired()._support
    ramp = functional.ramp(torch.linspace(0, 1, 70).reshape(2, 35).requires_grad_(), STEPS)._support
    monkeypatch.setattr(_cuda, "SLOT", slot)
    again = functional.ramp(torch.linspace(0, 1, 70).reshape(2, 35).requires_grad_(), STEPS)._support
    assert expected is not None and ramp is not None and again is not None
    for got, wanted in ((fired()._support, expected), (again, ramp)):
        assert got is not None and all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_torch_compile_is_told_that_groups_are_a_warp_wide() -> None:
    """4 samples of 70 neurons; needs no device."""
    geometry = [4, 1, 1, 40, 1, 1, 1, 1, 1, 0, 0, 70, 8]
    with FakeTensorMode(shape_env=ShapeEnv()):
        times, weight = torch.empty(4, 1, 1, 40, dtype=torch.uint8, device="cuda"), torch.empty(70, 40, device="cuda")
        arguments = (times, None, None, None, weight, None, geometry, [1.0, 1.0, 0.0, 1.0, 0.0], True)
        anchor, spikes, offset, *_ = ops.layer.fire_layer(*arguments)
    assert spikes.shape == (4, 1, 1, 70) and offset.shape == (4 * 3 + 1,)
    assert isinstance(anchor.shape[0], torch.SymInt), "the number of entries depends on the data"
    assert {t.device.type for t in (anchor, spikes, offset)} == {"cuda"}
