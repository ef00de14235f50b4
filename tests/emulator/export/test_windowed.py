"""The exported C99 of a net of windows computes every level, score and decision of the emulator, from pixels to class."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import firstspike
from firstspike import SpikeTimes, data, models, nn
from firstspike import emulator as em
from firstspike._base.checks import SILENT
from firstspike.emulator.export import tables

from ..nets import changed
from ..networks import windowed_programs
from .test_exporting import compiled, needs_compiler


@needs_compiler
@settings(max_examples=25)
@given(st.data())
def test_random_programs(tmp_path_factory, data):
    program, times = data.draw(windowed_programs(exact=True))
    assume(all(all(layer.overflow_free().values()) for layer in program.layers))
    height, width, channels = program.input_shape
    flat = height == width == 1
    shaped = times if flat else times.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    folder = tmp_path_factory.mktemp("c")
    em.export_c(program, folder, samples=SpikeTimes(torch.from_numpy(shaped.copy()), program.steps))
    status, text = compiled(folder)
    assert status == 0 and f"equal to the emulator: {len(times)} of {len(times)} samples" in text, text


@needs_compiler
@pytest.mark.parametrize("chip", ["generic8", "loihi-like"])
@pytest.mark.parametrize("spec", ["64-24-10", "4C3-R(6C3s2-6C3)-MP2-10", "4C3-SP2-6C3-SP2-10"])
@pytest.mark.parametrize("encoder", [nn.WindowedEncoder(), nn.WindowedEncoder(20, (0, 1), (0.3,))])
def test_from_pixels_to_class(spec, chip, encoder, tmp_path):
    draw = torch.Generator().manual_seed(0)
    net = models.build(spec, input_shape=(1, 8, 8), steps=8, timing="windowed", generator=draw)
    if any(encoder.padding) and spec[0] == "6":
        encoder = nn.WindowedEncoder(20)
    net.encoder = encoder
    program, x = em.quantize(net.eval(), chip), data.load("digits", train=False).images[:20]
    made = em.export_c(program, tmp_path, samples=x)
    status, text = compiled(tmp_path)
    assert status == 0 and "equal to the emulator: 20 of 20 samples" in text, text
    figures = [int(n) for n in re.findall(r"(\d+) bytes", text)]
    assert made.encoder and figures[0] == made.table_bytes and 0 <= figures[1] - made.state_bytes < 32
    source = (tmp_path / "fs_network.c").read_text()
    (tmp_path / "fs_network.c").write_text(re.sub(r"bias_0\[\d+\] = \{\n    ", r"\g<0>100000 + ", source))
    assert compiled(tmp_path)[0] == 1  # a wrong table is found


@needs_compiler
def test_normalised_images(tmp_path):
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 3)]
    images = torch.randint(0, 256, (40, 2, 6, 6), dtype=torch.uint8)
    net = firstspike.convert(torch.nn.Sequential(nn.Normalize((0.3, 0.5), (0.4, 0.2)), *layers).eval(), images / 255, steps=9)
    program = em.quantize(net, calibration=images)
    assert em.export_c(program, tmp_path, samples=images).integer_bits == 32
    assert compiled(tmp_path)[0] == 0
    em.export_c(program, tmp_path, samples=images.float() / 255)
    assert compiled(tmp_path)[0] == 0


def test_pixels_beyond_the_scaled_range_count_as_its_ends():
    net = models.build("4C3-4", input_shape=(1, 6, 6), steps=8, timing="windowed").eval()
    net.normalize = nn.Normalize(20 / 255, 40 / 255, saturate=True)
    taken = tables.input_of(em.quantize(net))
    assert set(taken.codes[0, :21]) == {SILENT} and set(taken.codes[0, 60:]) == {0} and 0 < taken.codes[0, 40] < SILENT


def test_registers_that_may_overflow_are_refused(tmp_path):
    program = em.quantize(models.build("64-8-10", input_shape=(64,), steps=8, timing="windowed").eval())
    layer = changed(program.layers[0], bias=program.layers[0].bias + np.int64(1 << 23) - 1 - program.layers[0].bias.max())
    with pytest.raises(ValueError, match=r"program must be one whose registers cannot overflow, but those of layer 0:"):
        em.export_c(program.replace(layers=(layer, *program.layers[1:])), tmp_path)
