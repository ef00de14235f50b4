"""The command `firstspike emulate`, on the digits that ship with scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from firstspike import emulator as em
from firstspike import train
from firstspike.emulator.cli import emulate

app = typer.Typer()
app.command()(emulate)
runner = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = train.Config(data="digits", spec="64-32-10", epochs=3, lr=3e-3)
    train.fit(config, directory=folder, progress=False)
    return folder


def run(*arguments):
    return runner.invoke(app, [str(a) for a in arguments])


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
    again = run(tmp_path / "out" / "program.safetensors", "--data", "digits")
    assert again.exit_code == 0, again.output
    assert f"accuracy: {whole['summary']['accuracy']:.4g}" in again.output


def test_fine_tuning(checkpoint):
    done = run(checkpoint, "--bits", "2", "--finetune", "1", "--limit", "50")
    assert done.exit_code == 0, done.output
    assert "samples: 50" in done.output


def test_what_does_not_fit_is_said(checkpoint):
    done = run(checkpoint, "--profile", "odin-like", "--drop-biases")
    assert done.exit_code == 0 and "fits the chip: yes" in done.output
    refused = run(checkpoint, "--profile", "odin-like")
    assert refused.exit_code == 1 and "it has biases, profile odin-like has none" in refused.output
    strict = run(checkpoint, "--profile", "speck-like", "--drop-biases", "--strict", "--limit", "5")
    assert strict.exit_code == 0 or "required" in strict.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--bits", "9"], "bits must be an int from 2 to 8"),
        (["--profile", "tpu"], "profile must be one of"),
        (["--energy", "none"], "energy table must be one of"),
        (["--early-exit"], "early_exit needs"),
        (["--data", "nothing"], "nothing"),
    ],
)
def test_errors_are_one_line(checkpoint, arguments, text):
    done = run(checkpoint, *arguments)
    assert done.exit_code == 1 and text in done.output and "Traceback" not in done.output


def test_a_missing_checkpoint(tmp_path):
    done = run(tmp_path / "none")
    assert done.exit_code == 1 and "path must be a run's folder" in done.output
