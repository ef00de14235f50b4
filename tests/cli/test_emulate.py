"""`firstspike emulate` and `firstspike check`."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstspike import data, train
from firstspike import emulator as em

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))


def test_report_program_and_trace(call, trained, tmp_path):
    options = ("--profile", "loihi-like", "--bits", "4", "--trace", "sample.npz", "--traced", 2, "--output", "out")
    code, out, err = call("emulate", trained, *options)
    assert code == 0, err
    assert "profile: loihi-like" in out and "accuracy of the float network" in out
    trace = np.load(tmp_path / "sample.npz")
    program = em.load(tmp_path / "out" / "program.safetensors")
    assert trace[f"membrane.{len(program.layers) - 1}"].shape == (2, program.total_steps, 10)
    summary = json.loads((tmp_path / "out" / "report.json").read_text())["summary"]
    assert summary["weight_bits"] == 4 and (tmp_path / "out" / "report.html").stat().st_size > 1000
    code, again, err = call("emulate", "out/program.safetensors", "--dataset", "digits")
    assert code == 0 and f"accuracy: {summary['accuracy']:.4g}" in again, err


def test_export_as_c(call, trained, tmp_path):
    code, _, err = call("emulate", trained, "--limit", 20, "--export-c", "c", "--no-progress")
    assert code == 0 and re.search(r"flash: \d+ bytes of tables\nRAM: \d+ bytes of state\n", err), err
    assert (tmp_path / "c" / "fs_core.c").is_file()
    assert "FS_VECTORS 10\n" in (tmp_path / "c" / "fs_vectors.h").read_text()


def test_fine_tuning_and_json(call, trained):
    code, out, err = call("emulate", trained, "--bits", 2, "--finetune", 1, "--limit", 50, "--json", "--no-progress")
    report = json.loads(out)
    assert code == 0 and err == "" and report["summary"]["samples"] == 50
    assert set(report["origin"]) == {"commit", "versions", "machine", "time"}


def test_fine_tuning_is_named_where_rounding_loses_accuracy(call):
    errors = [call("emulate", "digits-cnn", "--bits", bits, "--no-progress")[2] for bits in (2, 8)]
    assert ["--finetune" in text for text in errors] == [True, False]


def test_a_net_of_windows(call, tmp_path):
    config = train.Config(data="digits", spec="64-32-10", timing="windowed", steps=12, epochs=3, lr=3e-3, batch=64)
    train.fit(config, directory=tmp_path / "run", progress=False)
    options = ("--profile", "loihi-like", "--bits", "4", "--finetune", 1, "--output", "out", "--export-c", "c")
    code, out, err = call("emulate", "run", *options, "--no-progress")
    assert code == 0 and "latency on the chip in steps, mean: 29\n" in out, err  # 15 + 12 and two delays
    assert "multiply-adds of the first layer per image: 0\n" in out and "weight bits: 4\n" in out
    assert (tmp_path / "c" / "fs_core.c").is_file()
    accuracy = re.search(r"^accuracy: .*$", out, re.MULTILINE)[0]
    code, again, err = call("emulate", "out/program.safetensors", "--dataset", "digits", "--trace", "t.npz")
    assert code == 0 and accuracy in again, err
    assert np.load("t.npz")["membrane.0"].shape == (1, 15 + 12, 32)


def test_the_table_of_mismatches_numbers_the_samples_of_the_test_set(call, trained, tmp_path):
    assert call("emulate", trained, "--bits", 2, "--limit", 60, "--output", ".", "--no-progress")[0] == 0
    rows = list(csv.DictReader((tmp_path / "mismatches.csv").read_text().splitlines()))
    test = data.load("digits", train=False)
    numbers = [int(row["sample"]) for row in rows]
    assert rows and max(numbers) >= 60
    for column, values in (("label", test.labels), ("float", train.predict(train.load_model(trained), test.images))):
        assert [int(row[column]) for row in rows] == values[numbers].tolist()


def test_a_net_that_does_not_fit_is_reported(call, trained):
    code, out, _ = call("emulate", trained, "--profile", "odin-like", "--drop-biases")
    assert code == 0 and "fits the chip: yes" in out
    code, out, _ = call("emulate", trained, "--profile", "speck-like", "--drop-biases", "--strict", "--limit", 5)
    assert code == 0 and "fits the chip: yes" in out


def test_a_program_runs_on_a_folder_of_images(call, program, pictures, tmp_path):
    code, out, err = call("emulate", program, "--images", pictures, "--json", "--no-progress")
    assert code == 0, err
    test = data.load_images(pictures, train=False)
    expected = em.run(em.load(program), test.images, labels=test.labels)
    summary = json.loads(out)["summary"]
    assert (summary["samples"], summary["accuracy"]) == (30, expected.accuracy)
    shutil.copytree(pictures, "odd")
    for path in (tmp_path / "odd" / "train").rglob("*.png"):
        Image.new("L", (5, 7)).save(path)
    assert call("emulate", program, "--images", "odd")[0] == 1
    assert call("emulate", program, "--images", "odd", "--image-size", 4)[0] == 1
    assert call("emulate", program, "--images", "odd", "--image-size", 8)[0] == 0


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_fits_a_profile(call, path):
    code, out, err = call("check", path)
    assert code == 0 and ": fits, " in out, err


def test_the_setting_that_check_names_helps(call):
    example = next(path for path in EXAMPLES if path.stem == "digits")
    code, out, _ = call("check", example, "--profile", "odin-like")
    assert code == 1 and "set bias = false" in out
    code, out, _ = call("check", example, "--profile", "odin-like", "--set", "bias=false", "--set", "spec=64-128-64-10")
    assert code == 0 and "odin-like: fits, 1 of 1 cores" in out


def test_check_takes_the_shape_from_options_and_images(call, tmp_path):
    (tmp_path / "own.toml").write_text('spec = "12-8-4"\nsteps = 4\n')
    profiles = ("--profile", "generic8", "--profile", "odin-like")
    code, out, _ = call("check", "own.toml", "--input-shape", "12", *profiles, "--json")
    assert code == 1 and [one["fits"] for one in json.loads(out)] == [True, False]
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (6, 4)).save(tmp_path / "train" / name / "0.png")
    (tmp_path / "own.toml").write_text('spec = "4C3-AP2-2"\nsteps = 4\nimage_size = 8\n')
    code, out, _ = call("check", "own.toml", "--images", ".", "--profile", "generic8")
    assert code == 0 and "generic8: fits" in out
    wide = call("check", "own.toml", "--images", ".", "--profile", "speck-like", "--set", "image_size=400", "--json")
    assert '"fits": false' in wide[1]


def test_training_for_a_chip_names_each_setting_that_it_changes(call):
    Path("run.toml").write_text('data = "digits"\nspec = "64-16-10"\nepochs = 1\nlimit = 100\n')
    code, _, err = call("train", "run.toml", "--profile", "odin-like", "--no-progress")
    assert code == 0 and "odin-like: bias: False, not None\n" in err
    assert train.load_info("runs/run").config.bias is False
