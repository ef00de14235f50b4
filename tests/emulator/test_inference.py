"""Fast inference of nets of windows in integers, against the emulated core."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, emulator, models, nn

from .networks import window_programs


@settings(max_examples=200)
@given(window_programs(exact=True), st.integers(1, 3))
def test_equals_the_core(made, threads):
    program, times = made
    try:
        net = emulator.IntegerNet(program)
    except ValueError:  # more than 16 or 32 bits
        assume(False)
    expected = program.engine().run(times).membrane[-1][:, 0]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        scores = net(_spikes(program, times))
        many = net(_spikes(program, np.tile(times, (70, 1))))
    finally:
        torch.set_num_threads(before)
    assert scores.dtype == torch.int32
    np.testing.assert_array_equal(scores.numpy(), expected)
    np.testing.assert_array_equal(many.numpy(), np.tile(expected, (70, 1)))


@settings(max_examples=20)
@given(window_programs(exact=True))
def test_is_copied_and_pickled(made):
    program, times = made
    try:
        net = emulator.IntegerNet(program)
    except ValueError:
        assume(False)
    spikes = _spikes(program, times)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(again(spikes), net(spikes))


@given(window_programs(exact=True))
@settings(max_examples=20)
def test_refuses_more_than_16_bits(made):
    program, _ = made
    last = program.layers[-1]
    wide = program.replace(layers=(*program.layers[:-1], last.replace(weight=last.weight.astype(np.int32) * 0 + 40_000)))
    with pytest.raises(ValueError, match="16 bits"):
        emulator.IntegerNet(wide)


@pytest.mark.parametrize("steps", [255, 15])
@pytest.mark.parametrize("spec", ["8C3-AP2-16C3s2-R(16C3)-MP2-20-10", "64-32-10"])
def test_images(spec, steps):
    net = models.build(spec, input_shape=(1, 8, 8), steps=16, timing="layer").eval()
    net.encoder = nn.WindowEncoder(steps)
    program = emulator.quantize(net)
    images = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8)
    fast = emulator.IntegerNet(program)
    for x in (images, images.float() / 255):
        np.testing.assert_array_equal(fast(x).numpy(), emulator.run(program, x).scores)


def _spikes(program, times):
    height, width, channels = program.input_shape
    maps = torch.from_numpy(times).view(len(times), height, width, channels).permute(0, 3, 1, 2)
    return SpikeTimes(maps.flatten(1) if height == width == 1 else maps, program.steps)
