"""Launch arithmetic: the same bits on every device, in every order of the threads."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from firstspike._base.geometry import Geometry
from firstspike.ops import _cuda

from ..samples import layer
from .test_device import run

CASES = {
    "linear": layer((70, 40), (100, 40), 8, exact=False),
    "linear, long": layer((5, 600), (35, 600), 40, exact=False, decay=0.9),
    "conv2d": layer((3, 16, 8, 6), (70, 16, 3, 3), 8, exact=False, padding=1),
    "conv2d, pooled": layer((2, 5, 9, 8), (33, 5, 3, 3), 8, exact=False, padding=1, avg_pool=2),
}


def same(got: list[Tensor], expected: list[Tensor], what: object) -> None:
    """Equal to the last bit."""
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert torch.equal(a, b), f"result {i} differs: {what}"


@pytest.mark.parametrize("name", CASES)
def test_same_bits_however_it_runs(on_host: ModuleType, name: str) -> None:
    expected = run(CASES[name], "cpu")
    assert all(float(grad.abs().max()) > 0 for grad in expected[2:5])
    # With many processors a warp takes fewer tiles, with little shared memory the weights are not staged.
    devices = ((1, 48, 1), (1, 227, 0), (7, 227, 0), (7, 163, 2), (13, 227, 0), (132, 227, 2), (108, 163, 3))
    for processors, kilobytes, order in devices:
        on_host.set_device(processors, kilobytes * 1024, order)
        same(run(CASES[name], "cpu"), expected, f"{processors} processors, {kilobytes} KB, order {order}")


@pytest.fixture
def noted(on_host: ModuleType) -> Iterator[ModuleType]:
    """Launches are noted, nothing runs, so that pointers may be null and sizes large."""
    on_host.only_note_launches(True)
    yield on_host
    on_host.only_note_launches(False)


def linear_geometry(batch: int, height: int, width: int, channels: int, outputs: int) -> Geometry:
    """A fully connected layer on a map."""
    return Geometry(batch, height, width, channels, 1, height, width, 1, 1, 0, 0, outputs, 8)


NEURON, NONE, WEIGHT = (1.0, 1.0, 0.0, 1.0, 0.0), (0, 0, 0), (0, 1, 1, 1, 1)


@pytest.mark.parametrize("sizes", [(2, 257, 256, 3, 10), (1, 1, 1, 40 * 65536, 3), (1, 1, 1, 3, 40 * 65536)], ids=str)
def test_large_layers_stay_within_the_grid(noted: ModuleType, sizes: tuple[int, ...]) -> None:
    """y and z of a grid end at 65,535, which the cells of a map or the tiles of a layer may exceed."""
    synapses = linear_geometry(*sizes), 0, WEIGHT, 0, 0
    noted.fire_layer(synapses, NEURON, _cuda.NO_SLOTS, 0, 0)
    noted.integrate_layer(synapses, NEURON, 0, 0)
    noted.input_gradient(synapses, NEURON, (NONE, 0, 0), NONE, 0, 0)
    noted.weight_gradient(synapses, NEURON, (NONE, 0, 0), 0, 0, 0)
    launches = noted.launches()
    assert {"pack_by_output", "fire_layer", "integrate_layer", "input_gradient", "weight_gradient"} <= {x[0] for x in launches}
    assert all(grid[1:] == [1, 1] for _, grid, _ in launches)


@pytest.mark.parametrize("sizes", [(128, 1, 1, 784, 400), (128, 1, 1, 400, 400), (32, 1, 1, 784, 400)], ids=str)
def test_every_processor_has_a_block(noted: ModuleType, sizes: tuple[int, ...]) -> None:
    noted.set_device(132, 227 * 1024, 0)
    g = linear_geometry(*sizes)
    noted.fire_layer((g, 0, WEIGHT, 0, 0), NEURON, _cuda.NO_SLOTS, 0, 0)
    (blocks,) = [grid[0] for name, grid, _ in noted.launches() if name == "fire_layer"]
    assert blocks >= min(132, g.batch // 4 * 13)


def test_too_large_a_layer_is_refused(on_host: ModuleType) -> None:
    geometry = [2**22, 1, 1, 2**10, 1, 1, 1, 1, 1, 0, 0, 10, 8]
    with pytest.raises(ValueError, match="split the batch"):
        on_host.fire_layer((geometry, 0, WEIGHT, 0, 0), NEURON, _cuda.NO_SLOTS, 0, 0)
    with pytest.raises(ValueError, match="sites must be from 0"):
        on_host.ramp(2**62, 4, 8, NEURON, 0, _cuda.NO_SLOTS, 0, 0)
    with pytest.raises(ValueError, match="too many elements for one launch"):
        on_host.fire(8, 2**42, NEURON, 0, 0, 0)
