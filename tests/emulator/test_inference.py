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
from firstspike.ops.integers import IntegerInput, IntegerKernel, IntegerLayer

from .nets import changed
from .networks import windowed_programs


@settings(max_examples=200)
@given(windowed_programs(exact=True), st.integers(1, 3))
def test_equals_the_core(made, threads):
    program, times = made
    net = _net(program)
    expected = program.engine().run(times).membrane[-1][:, 0]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        scores = net(spikes_of(program, times))
        many = net(spikes_of(program, np.tile(times, (70, 1))))
    finally:
        torch.set_num_threads(before)
    assert scores.dtype == torch.int32
    np.testing.assert_array_equal(scores.numpy(), expected)
    np.testing.assert_array_equal(many.numpy(), np.tile(expected, (70, 1)))


@settings(max_examples=20)
@given(windowed_programs(exact=True))
def test_is_copied_and_pickled(made):
    program, times = made
    net, spikes = _net(program), spikes_of(program, times)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(again(spikes), net(spikes))


@given(windowed_programs(exact=True))
@settings(max_examples=20)
def test_refuses_more_than_16_bits(made):
    program, _ = made
    last = program.layers[-1]
    wide = program.replace(layers=(*program.layers[:-1], changed(last, weight=last.weight.astype(np.int32) * 0 + 40_000)))
    with pytest.raises(ValueError, match="16 bits"):
        emulator.IntegerNet(wide)


def test_refuses_many_groups_by_the_size_of_their_table():
    """Two inputs and one output per group, 8192 groups: 2^27 weights, nearly all of them 0."""
    net = models.TTFSNet(
        [nn.WindowedConv2d(16384, 8192, 1, steps=4, groups=8192)],
        encoder=nn.WindowedEncoder(4),
        readout=nn.WindowedReadout(8192, 2),
        input_shape=(16384, 1, 1),
    )
    with pytest.raises(ValueError, match="groups make a table of 134217728 weights"):
        emulator.IntegerNet(emulator.quantize(net.eval()))


@pytest.mark.parametrize("steps", [255, 15])
@pytest.mark.parametrize("spec", ["8C3-AP2-16C3s2-R(16C3)-MP2-20-10", "64-32-10"])
def test_images(spec, steps):
    net = models.build(spec, input_shape=(1, 8, 8), steps=16, timing="windowed").eval()
    net.encoder = nn.WindowedEncoder(steps)
    program = emulator.quantize(net)
    images = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8)
    fast = emulator.IntegerNet(program)
    for x in (images, images.float() / 255):
        np.testing.assert_array_equal(fast(x).numpy(), emulator.run(program, x).scores)


@given(st.sampled_from((1, 16, 17, 64, 127, 128, 255)), *(st.integers(1, most) for most in (200, 70, 140, 99)))
def test_extreme_weights_and_thresholds(steps, units, outputs, batch, seed):
    random = np.random.default_rng(seed)
    levels = random.choice([0, 255], (batch, units), p=[0.1, 0.9])
    rise = random.integers(1, random.choice([2, 1000, 2**31 // (steps + 2)]), units)
    offset = (rise * random.integers(0, steps + 1, units) - random.integers(0, 2, units)).clip(0)
    weight = random.choice([-128, 127], (outputs, 1)).repeat(units, 1)
    tap = IntegerInput(-1, 1, (1, 1), (1, 1), (0, 0))
    hidden = "dense", steps, 0, (1, 1, units), [tap], np.eye(units), offset, rise
    readout = "dense", 0, 0, (1, 1, outputs), [tap._replace(source=0)], weight, np.zeros(outputs), np.zeros(0)
    layers = [
        IntegerLayer(*x[:5], torch.tensor(x[5], dtype=torch.int16), *(torch.tensor(y, dtype=torch.int32) for y in x[6:]))
        for x in (hidden, readout)
    ]
    sums = IntegerKernel((1, 1, units), layers)(torch.tensor(levels, dtype=torch.uint8))
    np.testing.assert_array_equal(sums.numpy(), ((levels + offset) // rise).clip(0, steps) @ weight.T)


def _net(program):
    try:
        return emulator.IntegerNet(program)
    except ValueError:  # more than 16 or 32 bits
        assume(False)


def spikes_of(program, times):
    height, width, channels = program.input_shape
    maps = torch.from_numpy(times).view(len(times), height, width, channels).permute(0, 3, 1, 2)
    return SpikeTimes(maps.flatten(1) if height == width == 1 else maps, program.steps)
