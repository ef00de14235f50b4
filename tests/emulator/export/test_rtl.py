"""The core in SystemVerilog computes every level, score, class and number of cycles of the emulator, from pixels to class."""

from __future__ import annotations

import os
import shutil
import subprocess

import filelock
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import firstspike
from firstspike import SpikeTimes, data, models, nn
from firstspike import emulator as em
from firstspike.emulator.export import core
from firstspike.emulator.export.layout import Layout
from firstspike.emulator.export.rtl import sizes_text, vectors
from firstspike.emulator.program.program import Refusal

from ..networks import windowed_programs

needs_verilator = pytest.mark.skipif(shutil.which("verilator") is None, reason="no Verilator: apt-get install verilator make g++")
needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="no yosys: apt-get install yosys")

# One core for all programs of these tests: tables are loaded when it runs.
ROOMY = {
    "LANES": 4,
    "CLUSTERS": 3,
    "MULTIPLIERS": 5,
    "WEIGHT_BITS": 18,
    "LEVEL_BITS": 8,
    "MEMBRANE_BITS": 44,
    "RISE_BITS": 24,
    "STAGES": 8,
    "PLACE_BITS": 12,
    "ADDRESS_BITS": 16,
    "COUNT_BITS": 8,
    "LANE_BITS": 2,
    "SPIKES": 8192,
    "MARKS": 4096,
    "WEIGHT_ROWS": 32768,
    "TILES": 512,
    "LAYERS": 16,
    "CODES": 4,
    "POOLS": 1,
}


@pytest.fixture(scope="module")
def simulators(tmp_path_factory):
    """Cores by whether they skip silent neurons; built once for all processes of a run."""
    shared, found = tmp_path_factory.getbasetemp(), {}
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    for skips in (False, True):
        folder = shared / f"rtl-{skips}"
        with filelock.FileLock(f"{folder}.lock"):
            if not (folder / "obj" / "Vfs_bench").exists():
                shutil.copytree(core.SOURCES, folder, dirs_exist_ok=True)
                (folder / "sizes.svh").write_text(sizes_text(ROOMY | {"SKIPS": int(skips)}))
                subprocess.run(["make", "-C", folder, "obj/Vfs_bench"], check=True, capture_output=True)
        found[skips] = folder / "obj" / "Vfs_bench"
    return found


def files(layout, samples):
    """What the simulated core reads."""
    levels = "".join(f"{level:x}\n" for level in [*range(256), *[0] * 256])
    texts = {"codes.mem": levels} | core.tables(layout, ROOMY) | vectors(layout, samples, ROOMY["STAGES"])[0]
    texts["codes.mem"] *= 512 * ROOMY["CODES"] // texts["codes.mem"].count("\n")
    return texts


def compared(simulators, folder, program, samples, **options):
    """What the core prints after it ran the samples."""
    layout = Layout(program, lanes=4, clusters=3, **options)
    assert all(core.sizes(layout, 5)[name] <= room for name, room in ROOMY.items() if name not in ("LANES", "CLUSTERS"))
    for name, text in files(layout, samples).items():
        (folder / name).write_text(text)
    command = [simulators[layout.skips], f"+tables={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)


@needs_verilator
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_programs(simulators, tmp_path_factory, data):
    program, times = data.draw(windowed_programs(exact=True))
    height, width, channels = program.input_shape
    flat = height == width == 1
    shaped = times if flat else times.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    samples = SpikeTimes(torch.from_numpy(shaped.copy()), program.steps)
    skips = data.draw(st.booleans())
    try:
        Layout(program, lanes=4, clusters=3)
    except Refusal as refusal:
        overflows = not all(free for layer in program.layers for free in layer.overflow_free().values())
        assert overflows or "averages" in str(refusal)
        return
    folder = tmp_path_factory.mktemp("tables")
    printed = compared(simulators, folder, program, samples, skip_silent=skips)
    assert printed["images"] == str(len(times)) and printed["differences"] == "0"


SPECS = ("64-24-10", "4C3-R(6C3s2-6C3)-MP2-10", "8C3-MP2-12C3-MP2-20-10", "4C3-SP2-6C3-SP1x2-10", "3C3-R(3C3)-MP2-R(6C3)-MP3-10")


@needs_verilator
@pytest.mark.parametrize("chip", ["rtl-ecp5-85", "loihi-like"])
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("encoder", [nn.WindowedEncoder(), nn.WindowedEncoder(20, (0, 1), (0.3,))])
def test_from_pixels_to_class(simulators, spec, chip, encoder, tmp_path):
    draw = torch.Generator().manual_seed(0)
    net = models.build(spec, input_shape=(1, 8, 8), steps=8, timing="windowed", generator=draw)
    if any(encoder.padding) and spec[0] == "6":
        encoder = nn.WindowedEncoder(20)
    net.encoder = encoder
    images = data.load("digits", train=False).images[:10]
    assert compared(simulators, tmp_path, em.quantize(net.eval(), chip), images)["images"] == "10"


@needs_verilator
def test_normalised_images(simulators, tmp_path):
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 3)]
    images = torch.randint(0, 256, (40, 2, 6, 6), dtype=torch.uint8)
    net = firstspike.convert(torch.nn.Sequential(nn.Normalize((0.3, 0.5), (0.4, 0.2)), *layers).eval(), images / 255, steps=9)
    program = em.quantize(net, calibration=images)
    assert len(core.codes_of(Layout(program))) == 2
    compared(simulators, tmp_path, program, images)
    compared(simulators, tmp_path, program, images.float() / 255)
    with pytest.raises(ValueError, match="samples must be images"):
        em.export_rtl(program, tmp_path / "core", samples=SpikeTimes(torch.zeros(1, 2, 8, 8, dtype=torch.uint8), 255))


@needs_verilator
def test_a_wrong_table_is_found(simulators, tmp_path):
    net = models.build("64-24-10", input_shape=(64,), steps=8, timing="windowed").eval()
    program, images = em.quantize(net), data.load("digits", train=False).images[:5].flatten(1)
    tables = files(Layout(program, lanes=4, clusters=3), images)
    for name in ("weights.mem", "starts.mem", "rises.mem", "tiles.mem", "expected.hex"):
        for other, text in tables.items():
            lines = text.splitlines(keepends=True)
            changed = lines[::-1] if other == name else lines
            (tmp_path / other).write_text("".join(changed))
        done = subprocess.run([simulators[True], f"+tables={tmp_path}"], capture_output=True, text=True, check=False)
        assert done.returncode != 0, name


@pytest.fixture
def digits():
    return em.quantize(models.load_pretrained("digits-windowed")), data.load("digits", train=False).images


@needs_verilator
@pytest.mark.parametrize(("lanes", "clusters", "multipliers"), [(32, 1, 28), (5, 3, 0), (1, 2, 2)])
def test_verilator_warns_of_nothing(lanes, clusters, multipliers, digits, tmp_path):
    em.export_rtl(digits[0], tmp_path, lanes=lanes, clusters=clusters, multipliers=multipliers)
    done = subprocess.run(["make", "-C", tmp_path, "lint"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_verilator
@pytest.mark.slow
def test_make(digits, tmp_path):
    program, images = digits
    written = em.export_rtl(program, tmp_path, samples=images[:10], lanes=8, clusters=2)
    assert written.work is not None
    assert written.work.additions.sum() > 0.5 * 16 * written.work.cycles.sum()
    for target in ("lint", "sim"):
        done = subprocess.run(["make", "-C", tmp_path, target], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "differences 0" in done.stdout


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize(("lanes", "clusters"), [(16, 2), (4, 3)])
def test_block_rams_are_those_that_yosys_takes(lanes, clusters, tmp_path):
    net = models.build("8C3-MP2-16C3-AP2-200-10", input_shape=(1, 16, 16), steps=16, timing="windowed", pooling="earliest")
    written = em.export_rtl(em.quantize(net.eval()), tmp_path, lanes=lanes, clusters=clusters)
    subprocess.run(["make", "-C", tmp_path, "synth"], check=True, capture_output=True)
    taken = [line.split() for line in (tmp_path / "synth.txt").read_text().splitlines() if "16KD" in line]
    assert 0.95 * written.block_rams <= sum(int(line[1]) for line in taken) <= written.block_rams


def test_what_the_core_cannot_compute_is_refused(tmp_path):
    with pytest.raises(Refusal, match="keeps no membranes .* set timing"):
        em.export_rtl(em.quantize(models.build("64-8-10", input_shape=(64,), steps=8).eval()), tmp_path)
    program = em.quantize(models.build("64-8-10", input_shape=(64,), steps=8, timing="windowed").eval())
    layer = program.layers[0]
    bias = layer.bias + np.int64(1 << 23) - 1 - layer.bias.max()
    wide = layer.replace(neuron=layer.neuron.replace(bias=bias))
    with pytest.raises(Refusal, match="layer 0:.* membrane could overflow"):
        em.export_rtl(program.replace(layers=(wide, *program.layers[1:])), tmp_path)
    (tmp_path / "Makefile").write_text("mine")
    with pytest.raises(ValueError, match="directory must be new"):
        em.export_rtl(program, tmp_path)


def test_whether_an_fpga_holds_a_net():
    small, large = (models.build(spec, input_shape=(784,), steps=16, timing="windowed") for spec in ("784-64-10", "784-256-10"))
    assert em.check(small, "rtl-ecp5-25").fits and em.check(large, "rtl-ecp5-85").fits
    found = em.check(large, "rtl-ecp5-25").findings
    assert [one.layer for one in found] == ["0:WindowedLinear"] and "block RAMs" in found[0].problem
    steps = em.check(models.build("784-64-10", input_shape=(784,), steps=8), "rtl-ecp5-85").findings
    assert steps[0].setting == {"timing": "windowed"}
