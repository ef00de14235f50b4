"""`firstspike check`: what a chip will refuse, from a config alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
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
    assert "--input-shape must be given" in run(path).output
    path.write_text('data = "dvs-gesture"\nspec = "16C3-AP4-64-11"\nsteps = 4\n')
    assert "generic8: fits, " in run(path, "--profile", "generic8").output
    path.write_text('spec = "12-8-4"\nsteps = 4\nmodel = "relu"\n')
    assert "only spiking nets run on chips" in run(path, "--input-shape", "12").output
    assert "--profile must be one of" in run(EXAMPLES[0], "--profile", "tpu").output
