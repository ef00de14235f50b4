"""The exported C99 computes every time, membrane and decision of the emulator, for any program; a compiler is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, data, models, nn
from firstspike import emulator as em
from firstspike.emulator.export.steps import Steps
from firstspike.emulator.program import profile, serialization
from firstspike.emulator.program.host import Encoder, Readout
from firstspike.emulator.program.layers import Register
from firstspike.emulator.program.program import Program

from ..nets import WITHOUT_CURRENT, changed, images, net, with_policy
from ..networks import networks

COMPILER = shutil.which("cc")
FLAGS = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror"]
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler `cc`")


def compiled(folder):
    """The output of the program that checks the vectors of an export; the exit status says whether all are equal."""
    sources = [str(folder / name) for name in ("main.c", "fs_core.c", "fs_network.c", "fs_vectors.c")]
    made = subprocess.run([COMPILER, *FLAGS, *sources, "-o", str(folder / "check")], capture_output=True, text=True)
    assert made.returncode == 0 and made.stderr == "", made.stderr
    done = subprocess.run([str(folder / "check")], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout


def readouts(draw, last):
    """A readout that suits a last layer."""
    classes = draw(st.sampled_from([None, *(k for k in range(1, last.neurons + 1) if last.neurons % k == 0)]))
    if not last.fires:
        return Readout(kind="membrane", mode=draw(st.sampled_from(("last", "mean", "weighted"))), classes=classes)
    if draw(st.booleans()):
        return Readout(kind="first-spike", mode=draw(st.sampled_from(("last", "index"))), classes=classes)
    return Readout(kind="temporal-weighting", mode=draw(st.sampled_from(("exp", "linear"))), gamma=1.2, classes=classes)


@needs_compiler
@settings(max_examples=25)
@given(st.data())
def test_random_programs(tmp_path_factory, data):
    layers, steps, _, times = data.draw(networks(registers={"policies": ("saturate", "wrap")}))
    layers = [changed(layer, start=0) for layer in layers]
    program = Program(
        layers=layers,
        steps=steps,
        profile=profile.load("generic8"),
        encoder=Encoder(kind="spikes"),
        readout=readouts(data.draw, layers[-1]),
    )
    samples = SpikeTimes(torch.from_numpy(times).reshape(len(times), *np.roll(program.input_shape, 1)), steps)
    folder = tmp_path_factory.mktemp("c")
    em.export_c(program, folder, samples=samples)
    status, text = compiled(folder)
    assert status == 0 and f"equal to the emulator: {len(times)} of {len(times)} samples" in text, text


@needs_compiler
@pytest.mark.parametrize("name", WITHOUT_CURRENT)
@pytest.mark.parametrize("encoder", ["latency", "direct"])
def test_a_net_on_every_profile(name, encoder, tmp_path):
    """Latency coding of pixels is in C too; flash, RAM and operations are those that Python tells."""
    spec = "64-24-10" if encoder == "latency" else "4C3-AP2-10"
    model = models.build(spec, input_shape=(1, 8, 8), steps=8, encoder=encoder, bias=False)
    program, x = em.quantize(model.eval(), name), data.load("digits", train=False).images[:20]
    made = em.export_c(program, tmp_path, samples=x)
    status, text = compiled(tmp_path)
    assert status == 0 and "equal to the emulator: 20 of 20 samples" in text, text
    assert made.encoder and (made.macs > 0) == (encoder == "direct")
    assert made.operations_per_sample == pytest.approx(em.run(program, x).count("delivered").sum(1).mean())
    figures = [int(n) for n in re.findall(r"(\d+) bytes", text)]
    assert 0 <= figures[0] - made.table_bytes < 400 * len(program.layers)  # the layers' own records
    assert 0 <= figures[1] - made.state_bytes < 32  # padding
    assert f"{made.macs} multiply-adds of pixels, {made.operations_per_sample:.1f} synaptic" in text


@needs_compiler
@pytest.mark.parametrize("name, decays", [("loihi-like", (1.0, 1.0)), ("loihi-like", (0.9, 0.5)), ("xylo-like", (0.5, 0.75))])
@pytest.mark.parametrize("spec", ["64-24-10", "4C3-AP2-10"])
def test_a_net_with_currents(name, decays, spec, tmp_path):
    options = {"decay": decays[0], "synaptic_decay": decays[1], "encoder": "latency", "bias": False}
    if name == "xylo-like" and "C" in spec:
        pytest.skip("no convolutions on this chip")
    model = models.build(spec, input_shape=(1, 8, 8), steps=8, **options)
    program, x = em.quantize(model.eval(), name), data.load("digits", train=False).images[:20]
    made = em.export_c(program, tmp_path, samples=x)
    status, text = compiled(tmp_path)
    assert status == 0 and "equal to the emulator: 20 of 20 samples" in text, text
    figures = [int(n) for n in re.findall(r"(\d+) bytes", text)]
    assert 0 <= figures[1] - made.state_bytes < 32  # padding


@needs_compiler
@pytest.mark.parametrize("spec", ["5C3-AP2-6C3-7-5", "128-9-5"])
@pytest.mark.parametrize("name", ["generic8", "loihi-like", "odin-like"])
@pytest.mark.parametrize("options", [{}, {"decay": 0.75}, {"encoder": "latency"}])
def test_scaled_images_in_four_bits(spec, name, options, tmp_path):
    """Odd numbers of outputs in nibbles, leaks, and scaling folded into the first layer or a table per channel."""
    options = {} if name == "odin-like" and "decay" in options else options
    draw = torch.Generator().manual_seed(0)
    model = models.build(spec, input_shape=(2, 8, 8), steps=8, bias=False, generator=draw, **options).eval()
    model.normalize = nn.Normalize((0.3, 0.1), (0.9, 0.5))
    if options.get("encoder"):
        model.normalize = nn.Normalize((0.0, 0.0), (1.0, 1.2))
    x = torch.randint(0, 256, (12, 2, 8, 8), dtype=torch.uint8, generator=draw)
    made = em.export_c(em.quantize(model, name, bits=4, calibration=x), tmp_path, samples=x)
    status, text = compiled(tmp_path)
    assert status == 0 and "equal to the emulator: 12 of 12 samples" in text, text
    nibbles = "FS_NIBBLES 1" in (tmp_path / "fs_network.h").read_text()  # even weights need a bit more
    assert nibbles == (name != "loihi-like" or "encoder" not in options) and made.integer_bits == 32


def test_an_export_without_the_first_layer_must_be_asked_for(tmp_path):
    program, x = em.quantize(net("4C3-5"), first_layer="float"), images(net("4C3-5"), 3)
    with pytest.raises(ValueError, match="without_first_layer"):
        em.export_c(program, tmp_path / "c", samples=x)
    assert not (tmp_path / "c").exists()
    assert not em.export_c(program, tmp_path / "c", samples=x, without_first_layer=True).encoder
    if COMPILER is not None:
        assert compiled(tmp_path / "c")[0] == 0


@needs_compiler
def test_a_wrong_result_is_found(tmp_path):
    """The check is able to fail: one weight changed after the vectors were made."""
    program = em.quantize(net("30-20-5", encoder="latency"), "generic8")
    em.export_c(program, tmp_path, samples=images(net("30-20-5"), 5))
    first = program.layers[0]
    weight = first.weight.copy()
    weight[:, 3] = 127 - weight[:, 3] // 2
    other = program.replace(layers=[changed(first, weight=weight), *program.layers[1:]])
    (tmp_path / "fs_network.c").write_text(Steps(other).source())
    status, text = compiled(tmp_path)
    assert status == 1 and "values differ" in text


@needs_compiler
def test_an_overflow_under_policy_error_fails_the_run(tmp_path):
    program, x = em.quantize(net("30-20-5", encoder="latency"), "generic8"), images(net("30-20-5"), 2)
    tiny = Register(low=-3, high=3, bits=3)
    program = program.replace(layers=[program.layers[0].replace(membrane=tiny), *program.layers[1:]])
    em.export_c(program, tmp_path, samples=x)
    strict = with_policy(program, "error")
    with pytest.raises(em.OverflowRefused):
        em.run(strict, x)
    (tmp_path / "fs_network.c").write_text(Steps(strict).source())
    status, text = compiled(tmp_path)
    assert status == 1 and "class -1" in text


def test_tables_for_other_tools(tmp_path):
    program = em.quantize(net("6C3-AP2-8C3-AP2-12-5"), "loihi-like")
    made = em.export_c(program, tmp_path)
    assert not (tmp_path / "main.c").exists() and made.operations_per_sample is None
    stored = np.load(tmp_path / "network.npz")
    for n, layer in enumerate(program.layers):
        np.testing.assert_array_equal(stored[f"layers.{n}.inputs.0.weight"], layer.weight)
        head, *words = (tmp_path / "mem" / f"layer.{n}.weight.mem").read_text().splitlines()
        bits = int(re.search(r"of (\d+) bits", head)[1])
        values = np.array([int(word, 16) for word in words])
        values[values >= 1 << bits - 1] -= 1 << bits
        np.testing.assert_array_equal(values, layer.weight.ravel())
    _, arrays = serialization.take_apart(program)
    assert set(stored) == {*arrays, "header"} and "loihi-like" in str(stored["header"])


def test_files_of_an_earlier_export_go_and_foreign_ones_stay(tmp_path):
    deep, flat = (em.quantize(net(spec, encoder="latency"), "generic8") for spec in ("30-20-16-5", "30-5"))
    em.export_c(deep, tmp_path, samples=images(net("30-20-5"), 2))
    (tmp_path / "mem" / "notes.txt").write_text("mine")
    written = em.export_c(flat.replace(name="*/ int main(void) { /*\n#error"), tmp_path).files
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*written, tmp_path / "mem" / "notes.txt"}
    header = (tmp_path / "fs_network.h").read_text()
    assert "*/ int" not in header and "#error" not in header  # a name cannot end its comment


@needs_compiler
@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_sums_up_to_31_bits(tmp_path, overflow):
    chip = profile.load("generic8").replace(weight_bits=24, accumulator_bits=None, membrane_overflow=overflow)
    wide = models.mlp("200-10", steps=4, encoder="latency", bias=False, affine=None, normalization=False).eval()
    with torch.no_grad():
        wide.layers[-1].weight.uniform_(0.8, 1.0, generator=torch.Generator().manual_seed(0))
    program = em.quantize(wide, chip)
    assert 1 << 30 <= int(program.layers[-1].max_abs_sum().max()) < (1 << 31) - 1
    em.export_c(program, tmp_path, samples=torch.ones(2, 200))
    status, text = compiled(tmp_path)
    assert status == 0, text


@pytest.mark.parametrize("name", ["main.c", "Makefile", "README.txt"])
def test_a_folder_with_files_of_another_origin_is_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"directory.*{name}"):
        em.export_c(em.quantize(net("30-20-5"), "loihi-like"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


@needs_compiler
@pytest.mark.parametrize("timing", ["step", "windowed"])
def test_the_program_of_readme_and_docs_gives_the_class_of_an_image(timing, tmp_path):
    program = em.quantize(models.build("64-16-10", input_shape=(1, 8, 8), steps=8, timing=timing))
    x = torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    em.export_c(program, tmp_path)
    page = Path(__file__).parents[3] / "docs" / "howto" / "c-code.md"
    for n, text in enumerate(path.read_text() for path in (tmp_path / "README.txt", page)):
        block = re.search(r"^    #include.*?^    }$", text, re.DOTALL | re.MULTILINE)
        (tmp_path / "one.c").write_text(textwrap.dedent(block[0]) + "\n")
        sources = [str(tmp_path / name) for name in ("one.c", "fs_core.c", "fs_network.c")]
        subprocess.run([COMPILER, *FLAGS, *sources, "-o", str(tmp_path / f"one{n}")], check=True)
        raw = x[0].permute(1, 2, 0).contiguous().numpy().tobytes()
        done = subprocess.run([str(tmp_path / f"one{n}")], input=raw, capture_output=True, check=True, timeout=60)
        assert int(done.stdout) == em.run(program, x).predictions[0]
