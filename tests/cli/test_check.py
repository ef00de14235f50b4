"""`firstspike check`: what a chip will refuse, from a config alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from firstspike.cli import app

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))


def run(*arguments):
    return CliRunner().invoke(app, ["check", *(str(a) for a in arguments)])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_fits_a_profile(path):
    done = run(path)
    assert done.exit_code == 0 and ": fits, " in done.output, done.output


def test_the_setting_that_it_names_helps():
    example = next(path for path in EXAMPLES if path.stem == "digits")
    refused = run(example, "--profile", "odin-like")
    assert refused.exit_code == 1 and "it has biases, the chip has none; set bias = false" in refused.output
    taken = run(example, "--profile", "odin-like", "--set", "bias=false", "--set", "spec=64-128-64-10")
    assert taken.exit_code == 0 and "odin-like: fits, 1 of 1 cores" in taken.output


def test_json_and_shapes(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('spec = "12-8-4"\nsteps = 4\n')
    done = run(path, "--input-shape", "12", "--profile", "generic8", "--profile", "odin-like", "--json")
    assert done.exit_code == 1 and [one["fits"] for one in json.loads(done.output)] == [True, False]
    for shape in ("3,4", "x", "0,1,1"):
        assert "--input-shape must be C,H,W or N" in run(path, "--input-shape", shape).output
    assert "--input-shape or --images must be given" in run(path).output
    path.write_text('data = "dvs-gesture"\nspec = "16C3-AP4-64-11"\nsteps = 4\n')
    assert "generic8: fits, " in run(path, "--profile", "generic8").output
    path.write_text('spec = "12-8-4"\nsteps = 4\nmodel = "relu"\n')
    assert "only spiking nets run on chips" in run(path, "--input-shape", "12").output
    assert "profile: must be one of" in run(EXAMPLES[0], "--profile", "tpu").output


def test_a_folder_of_images_gives_the_shape(tmp_path):
    path, pictures = tmp_path / "own.toml", tmp_path / "pictures"
    path.write_text('spec = "4C3-AP2-2"\nsteps = 4\nimage_size = 8\n')
    for name in ("cat", "dog"):
        (pictures / "train" / name).mkdir(parents=True)
        Image.new("RGB", (6, 4)).save(pictures / "train" / name / "0.png")
    done = run(path, "--images", pictures, "--profile", "generic8")
    assert done.exit_code == 0 and "generic8: fits" in done.output
    wide = run(path, "--images", pictures, "--profile", "speck-like", "--set", "image_size=400", "--json")
    assert '"fits": false' in wide.output
    for arguments, text in (
        (("--input-shape", "3,8,8"), "--input-shape must be left out with --images"),
        (("--set", "data=digits"), "data = 'digits' and --images '.*' name two data sets"),
    ):
        refused = run(path, "--images", pictures, *arguments)
        assert refused.exit_code == 1 and re.search(text, refused.output), refused.output
    assert "none/train must be a folder" in run(path, "--images", tmp_path / "none").output


def test_errors_of_a_profile_begin_with_the_option(tmp_path):
    path = tmp_path / "chip.toml"
    path.write_text('name = "mine"\n[fire]\nvaule = "ge"\nsource = "s"\n')
    done = run(EXAMPLES[0], "--profile", path)
    assert done.exit_code == 1
    assert done.output.startswith(f"error: --profile {path}: fire: must have value")
