"""Additions counted by tensor operations, against loops over each spike, neuron and step."""

import itertools

import pytest
import torch
from benchmarks.kernels import support

import firstspike
from benchmarks import counts
from firstspike import SpikeTimes, functional

SILENT = 255
STEPS, TILE = 5, 4

SHAPES = [
    (counts.Shape(channels=3, outputs=6, kernel=(3, 3), pool=2, padding=1), (2, 3, 7, 6)),
    (counts.Shape(channels=2, outputs=4, kernel=(2, 2), stride=2), (2, 2, 5, 4)),
    (counts.Shape(channels=7, outputs=9, kernel=(1, 1)), (3, 7, 1, 1)),
    (counts.Shape(channels=2, outputs=5, kernel=(2, 3), pool=2), (2, 2, 4, 6)),
]


def layer(shape, size, seed=0):
    """Input times and the layer's answer, with silent neurons on both sides."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.randint(0, STEPS, size, generator=generator).to(torch.uint8)
    times[torch.rand(size, generator=generator) < 0.3] = SILENT
    weight = torch.randn(shape.outputs, shape.channels, *shape.kernel, generator=generator, requires_grad=True)
    x = SpikeTimes(times, STEPS)
    return times, functional.conv2d(x, weight, stride=shape.stride, padding=shape.padding, avg_pool=shape.pool)


def units_of(shape, times, y, x):
    """Times of the input units that reach site (y, x) of each sample, with how many cells they lie in."""
    _, _, height, width = times.shape
    for ky, kx in itertools.product(range(shape.kernel[0]), range(shape.kernel[1])):
        cy, cx = y * shape.stride - shape.padding + ky, x * shape.stride - shape.padding + kx
        if 0 <= cy < height // shape.pool and 0 <= cx < width // shape.pool:
            for py, px in itertools.product(range(shape.pool), repeat=2):
                yield times[:, :, cy * shape.pool + py, cx * shape.pool + px]


def spikes_until(shape, times, sample, y, x, last):
    return sum(int((units[sample] <= last).sum()) for units in units_of(shape, times, y, x))  # silent is 255


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_forward_additions_stop_where_a_tile_has_fired(shape, size):
    times, fired = layer(shape, size)
    out = fired.times
    expected = 0
    for sample, y, x in itertools.product(*(range(out.shape[i]) for i in (0, 2, 3))):
        for first in range(0, shape.outputs, TILE):
            tile = out[sample, first : first + TILE, y, x].tolist()
            last = max(STEPS - 1 if t == SILENT else t for t in tile)
            expected += spikes_until(shape, times, sample, y, x, last) * len(tile)
    reached = counts.events(times, STEPS, shape)
    assert counts.additions(reached, counts.last_needed(out, STEPS, TILE), shape.outputs, TILE) == expected
    assert expected > 0


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_gradient_additions_stop_at_the_last_entry_of_a_tile(shape, size):
    tile = firstspike.backends()["cpu"]["tile"]
    times, fired = layer(shape, size, seed=1)
    found, sites = support(fired), (fired.times.shape[0], *fired.times.shape[2:])
    groups = (*sites, -(-shape.outputs // tile))
    expected, group = 0, 0
    for sample, y, x in itertools.product(*(range(n) for n in sites)):
        for number in range(groups[-1]):
            steps = found.place[0][found.offset[group] : found.offset[group + 1]].tolist()
            group += 1
            if steps:
                width = min(tile, shape.outputs - number * tile)
                expected += spikes_until(shape, times, sample, y, x, max(steps)) * width
    last = counts.last_gradient(found.offset, found.place[0], groups)
    assert counts.additions(counts.events(times, STEPS, shape), last, shape.outputs, tile) == expected


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_multiply_additions_count_the_inputs_inside_the_map(shape, size):
    times, fired = layer(shape, size, seed=2)
    found, sites = support(fired), (fired.times.shape[0], *fired.times.shape[2:])
    groups = (*sites, (len(found.offset) - 1) // (sites[0] * sites[1] * sites[2]))
    entries = (found.offset[1:] - found.offset[:-1]).reshape(groups).sum(-1)
    expected = 0
    for sample, y, x in itertools.product(*(range(n) for n in sites)):
        taps = len(list(units_of(shape, times, y, x))) // shape.pool**2
        expected += int(entries[sample, y, x]) * taps * shape.channels
    cells = (size[2] // shape.pool, size[3] // shape.pool)
    assert counts.multiply_additions(found.offset, cells, groups, shape) == expected
    assert found.place.numel() > 0


def test_a_tile_without_a_gradient_adds_nothing():
    reached = torch.tensor([[[[3, 5]]]])  # one site, two steps
    assert counts.additions(reached, torch.tensor([[[[-1, 0, 1]]]]), 10, 4) == 0 * 4 + 3 * 4 + 5 * 2
