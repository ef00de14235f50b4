"""What torch.compile is told of CUDA tensors; needs no device."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from firstspike import ops
from firstspike.ops import _cuda

GEOMETRY = [4, 1, 1, 40, 1, 1, 1, 1, 1, 0, 0, 70, 8]


def layer() -> tuple[torch.Tensor, ...]:
    """A recorded layer of 4 samples of 70 neurons, 8 steps."""
    times = torch.empty(4, 1, 1, 40, dtype=torch.uint8, device="cuda")
    weight = torch.empty(70, 40, 1, 1, device="cuda")
    return ops.layer.fire_layer(times, None, None, None, weight, None, GEOMETRY, [1.0, 1.0, 0.0, 1.0], True)


def test_groups_are_a_warp_wide() -> None:
    with FakeTensorMode(shape_env=ShapeEnv()):
        anchor, fired, offset, *_ = layer()
    assert fired.shape == (4, 1, 1, 70) and offset.shape == (4 * 3 + 1,)
    assert isinstance(anchor.shape[0], torch.SymInt), "the number of entries depends on the data"
    assert {t.device.type for t in (anchor, fired, offset)} == {"cuda"}


@pytest.mark.parametrize(("capacity", "entries"), [(2.5, 700), (1.001, 281), (100, 4 * 70 * 8)])
def test_a_capacity_makes_the_length_static(capacity: float, entries: int) -> None:
    with FakeTensorMode(shape_env=ShapeEnv()), _cuda.support_capacity(capacity):
        anchor, _, _, slope, place = layer()
    assert [t.shape for t in (anchor, slope, place)] == [(entries,), (entries,), (2, entries)]
