"""The command `firstspike emulate`, on the digits that ship with scikit-learn."""

from __future__ import annotations

import csv
import json
import re
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from firstspike import data, train
from firstspike import emulator as em
from firstspike.cli import app
from firstspike.cli._program import some

runner = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = train.Config(data="digits", spec="64-32-10", epochs=3, lr=3e-3)
    train.fit(config, directory=folder, progress=False)
    return folder


def run(*arguments):
    return runner.invoke(app, ["emulate", *(str(a) for a in arguments)])


def test_report_program_and_trace(checkpoint, tmp_path):
    done = run(
        checkpoint,
        "--profile",
        "loihi-like",
        "--bits",
        "4",
        "--trace",
        tmp_path / "sample.npz",
        "--traced",
        2,
        "--output",
        tmp_path / "out",
    )
    assert done.exit_code == 0, done.output
    assert "profile: loihi-like" in done.output and "accuracy of the float network" in done.output
    trace = np.load(tmp_path / "sample.npz")
    program = em.load(tmp_path / "out" / "program.safetensors")
    assert trace[f"membrane.{len(program.layers) - 1}"].shape == (2, program.total_steps, 10)
    whole = json.loads((tmp_path / "out" / "report.json").read_text())
    assert whole["summary"]["weight_bits"] == 4
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000
    again = run(tmp_path / "out" / "program.safetensors", "--dataset", "digits")
    assert again.exit_code == 0, again.output
    assert f"accuracy: {whole['summary']['accuracy']:.4g}" in again.output


def test_export_as_c(checkpoint, tmp_path):
    done = run(checkpoint, "--limit", "20", "--export-c", tmp_path / "c", "--no-progress")
    assert done.exit_code == 0, done.output
    assert re.search(
        r"flash: \d+ bytes of tables\nRAM: \d+ bytes of state\nsynaptic operations per sample: \d", done.stderr
    )
    assert (tmp_path / "c" / "fs_core.c").is_file() and "FS_VECTORS 10\n" in (
        tmp_path / "c" / "fs_vectors.h"
    ).read_text()


def test_fine_tuning(checkpoint):
    done = run(checkpoint, "--bits", "2", "--finetune", "1", "--limit", "50")
    assert done.exit_code == 0, done.output
    assert "samples: 50" in done.output


def test_a_seed_that_torch_cannot_take(checkpoint):
    done = run(checkpoint, "--finetune", "1", "--seed", str(10**23))
    assert done.exit_code == 2 and "'--seed'" in done.output


def test_the_table_of_mismatches_numbers_the_samples_of_the_test_set(checkpoint, tmp_path):
    done = run(checkpoint, "--bits", "2", "--limit", "60", "--output", tmp_path, "--no-progress")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "mismatches.csv").read_text().splitlines()))
    assert rows
    test, trained = data.load("digits", train=False), train.load_model(checkpoint)
    numbers = [int(row["sample"]) for row in rows]
    assert max(numbers) >= 60
    for column, values in (("label", test.labels), ("float", train.predict(trained, test.images))):
        assert [int(row[column]) for row in rows] == values[numbers].tolist()


def test_what_does_not_fit_is_said(checkpoint):
    done = run(checkpoint, "--profile", "odin-like", "--drop-biases")
    assert done.exit_code == 0 and "fits the chip: yes" in done.output
    refused = run(checkpoint, "--profile", "odin-like")
    assert refused.exit_code == 1 and "it has biases, the chip has none" in refused.output
    strict = run(checkpoint, "--profile", "speck-like", "--drop-biases", "--strict", "--limit", "5")
    assert strict.exit_code == 0 and "fits the chip: yes" in strict.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--bits", "9"], "--bits must be from 2 to 8"),
        (["--granularity", "row"], "--granularity must be"),
        (["--observer", "best"], "--observer must be one of max, mse"),
        (["--profile", "tpu"], "profile: must be one of"),
        (["--energy", "none"], "--energy must be one of"),
        (["--energy", "45nm-float"] * 2, "--energy must have different names, got 2 of the name '45nm-float'"),
        (["--early-exit"], "--early-exit needs"),
        (["--dataset", "nothing"], "--dataset must be one of"),
        (["--limit", "100000"], "--limit must be at most the 360 images of digits, got 100000"),
        (["--profile", "odin-like"], "fine-tune with --finetune 1, or drop them with --drop-biases"),
    ],
)
def test_errors_are_one_line_in_the_words_of_the_options(checkpoint, arguments, text):
    done = run(checkpoint, *arguments)
    assert done.exit_code == 1 and text in done.output and "Traceback" not in done.output


@pytest.mark.parametrize("arguments", [["--limit", "-1"], ["--threads", "0"], ["--traced", "0"], ["--finetune", "-1"]])
def test_numbers_out_of_range(checkpoint, arguments):
    assert run(checkpoint, *arguments).exit_code == 2


def test_a_missing_checkpoint(tmp_path):
    done = run(tmp_path / "none")
    assert (
        done.exit_code == 1
        and "RUN must be the folder of a run, a file, or a net that ships (digits-cnn" in done.output
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("--trace", "--trace must name a file"),
        ("--output", "--output must name a folder"),
        ("--export-c", "--export-c must"),
    ],
)
def test_results_that_cannot_be_written_are_refused_before_the_run(checkpoint, tmp_path, monkeypatch, name, text):
    monkeypatch.setattr("firstspike.emulator.run", lambda *a, **k: pytest.fail("the run began"))
    (tmp_path / "occupied").write_text("")
    done = run(checkpoint, name, tmp_path / "occupied" / "inside.npz")
    assert done.exit_code == 1 and text in done.output
    if name == "--trace":
        assert "ends in .npz" in run(checkpoint, name, tmp_path / "trace.txt").output
        assert "existing folder" in run(checkpoint, name, tmp_path / "none" / "trace.npz").output


@pytest.fixture(scope="module")
def program(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "p.safetensors"
    trained = train.load_model(checkpoint)
    em.save(em.quantize(trained), path)
    return path


def test_options_without_effect_on_a_program_are_refused(program):
    done = run(program, "--dataset", "digits", "--profile", "generic8", "--bits", "4", "--finetune", "3")
    assert done.exit_code == 1
    assert "--profile, --bits, --finetune have no effect on" in done.output and "quantised already" in done.output
    assert run(program, "--dataset", "digits", "--limit", "20").exit_code == 0


def test_a_program_needs_data_that_suit_it(program, checkpoint, tmp_path):
    assert "--dataset or --images must be given with a program file" in run(program).output
    trained = train.load_model(checkpoint)
    made = em.quantize(trained)
    wide = np.zeros((made.encoder.weight.shape[0], 65), np.float32)
    em.save(made.replace(encoder=made.encoder.replace(weight=wide)), tmp_path / "p.safetensors")
    done = run(tmp_path / "p.safetensors", "--dataset", "digits")
    assert done.exit_code == 1
    assert (
        "does not suit the program: images must have 65 values, got shape (1, 8, 8) (channels, height, width)\n"
        in done.output
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Some of the digits as files."""
    folder, digits = tmp_path_factory.mktemp("pictures"), data.load("digits", train=False)
    for part in ("train", "test"):
        for label in range(10):
            (folder / part / str(label)).mkdir(parents=True)
            for index in (digits.labels == label).nonzero()[:3, 0].tolist():
                Image.fromarray(digits.images[index, 0].numpy()).save(folder / part / str(label) / f"{index}.png")
    return folder


@pytest.mark.filterwarnings("ignore:.* has no images of more")
def test_a_program_runs_on_a_folder_of_images(program, pictures, tmp_path):
    done = run(program, "--images", pictures, "--json", "--no-progress")
    assert done.exit_code == 0, done.output
    test = data.load_images(pictures, train=False)
    expected = em.run(em.load(program), test.images, labels=test.labels)
    summary = json.loads(done.stdout)["summary"]
    assert (summary["samples"], summary["accuracy"]) == (30, expected.accuracy)
    shutil.copytree(pictures, tmp_path / "odd")
    for path in (tmp_path / "odd" / "train").rglob("*.png"):
        Image.new("L", (5, 7)).save(path)
    for arguments, text in (
        ((), "5 x 7; --image-size S scales all images to S x S"),
        (("--image-size", 4), f"--images {tmp_path / 'odd'} does not suit the program: images must have 64 values"),
    ):
        refused = run(program, "--images", tmp_path / "odd", *arguments)
        assert refused.exit_code == 1 and text in refused.output, refused.output
    assert run(program, "--images", tmp_path / "odd", "--image-size", 8).exit_code == 0
    shutil.copytree(pictures / "train" / "9", tmp_path / "odd" / "train" / "more")
    refused = run(program, "--images", tmp_path / "odd", "--image-size", 8)
    assert "does not suit the program: it has 11 classes, the program tells 10 apart" in refused.output


def test_options_about_images_that_say_nothing_are_refused(program, checkpoint, pictures):
    for arguments, text in (
        ((program, "--images", pictures, "--dataset", "digits"), "name two data sets; drop one of them"),
        (
            (program, "--dataset", "digits", "--image-size", 8),
            "--image-size must come with a program file and --images",
        ),
        ((checkpoint, "--images", pictures, "--image-size", 8), "a run has the setting image_size"),
    ):
        refused = run(*arguments)
        assert refused.exit_code == 1 and text in refused.output, refused.output


def test_energy_tables_of_profiles_are_looked_for_before_the_run(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("firstspike.emulator.run", lambda *a, **k: pytest.fail("the run began"))
    chip = tmp_path / "chip.toml"
    chip.write_text(em.profile.load("generic8").to_toml().replace("45nm-integer", "gone.toml"))
    refused = run(checkpoint, "--profile", chip)
    assert refused.exit_code == 1 and "energy" in refused.output and "gone.toml" in refused.output


def test_json_and_no_progress(checkpoint):
    done = run(checkpoint, "--limit", "20", "--json", "--no-progress")
    assert done.exit_code == 0 and done.stderr == ""
    whole = json.loads(done.stdout)
    assert whole["summary"]["samples"] == 20
    assert set(whole["origin"]) == {"commit", "versions", "machine", "time"}


def test_layer_names_of_a_foreign_file_name_nothing_in_the_trace(checkpoint, tmp_path):
    trained = train.load_model(checkpoint)
    made = em.quantize(trained)
    evil = [layer.replace(name=f"../../{n}") for n, layer in enumerate(made.layers)]
    em.save(made.replace(layers=evil), tmp_path / "p.safetensors")
    done = run(tmp_path / "p.safetensors", "--dataset", "digits", "--limit", 2, "--trace", tmp_path / "t.npz")
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(tmp_path / "t.npz") as archive:
        assert all(re.fullmatch(r"[a-z_.0-9]+", name) for name in archive.namelist()), archive.namelist()


def test_the_images_that_calibrate_are_of_all_classes():
    """Folders of images are sorted by class."""
    labels = np.repeat(np.arange(10), 30)
    pictures = data.from_arrays(np.broadcast_to(labels[:, None], (300, 2)).astype(np.uint8), labels)
    assert sorted(some(pictures, 10)[:, 0].tolist()) == list(range(10))
    assert len(some(pictures, 1000)) == 300


def test_a_folder_with_a_makefile_of_another_origin_is_not_exported_into(checkpoint, tmp_path):
    (tmp_path / "Makefile").write_text("mine")
    done = run(checkpoint, "--export-c", tmp_path)
    assert done.exit_code == 1 and "--export-c must be new, or of an earlier export, but" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
