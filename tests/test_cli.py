"""The command `firstspike`, run as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from firstspike.cli import app

TOML = """
data = "digits"
spec = "64-32-10"
steps = 4
epochs = 2
batch = 64
lr = 0.005
threads = 1
limit = 400
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        found = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found.exit_code, found.stdout, found.stderr

    return call


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


def test_help_names_the_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    for name in ("train", "eval", "data", "backends", "emulate"):
        assert f" {name} " in out


def test_train_then_eval(run, toml, tmp_path):
    code, out, err = run("train", toml)
    assert code == 0 and "epoch 2/2" in err
    assert (tmp_path / "runs" / "small" / "model.safetensors").is_file()
    accuracy = next(line for line in out.splitlines() if "accuracy" in line)
    code, again, _ = run("eval", "runs/small")
    assert code == 0 and accuracy in again and "steps to decision" in again
    code, out, _ = run("eval", "runs/small/model.safetensors", "--json", "--split", "train")
    measured = json.loads(out)
    assert code == 0 and measured["images"] == 1437 and measured["accuracy"] > 0.2


def test_set_changes_settings_and_json_tells_all(run, toml):
    arguments = ("train", toml, "--set", "epochs=1", "--set", "augmentation.shift=1", "--set", "readout=twd-exp")
    code, out, _ = run(*arguments, "--json", "--directory", "here", "--no-progress")
    config = json.loads(out)["config"]
    assert code == 0
    assert (config["epochs"], config["augmentation"]["shift"], config["readout"]) == (1, 1, "twd-exp")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "nowhere.toml"), "nowhere.toml"),
        (("train", "small.toml", "--set", "lr=fast"), "lr must be float, got 'fast'"),
        (("train", "small.toml", "--set", "lr"), "--set must be NAME=VALUE, got 'lr'"),
        (("train", "small.toml", "--set", "spec=64-32x-10"), "64-32x-10"),
        (("train", "small.toml", "--data", "nowhere", "--set", "data=mnist"), "must name an existing folder"),
        (("eval", "nowhere"), "path must be a run's directory or a model file"),
        (("eval", "nowhere", "--split", "dev"), "split must be test or train"),
        (("data", "nothing"), "name must be one of digits"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_1(run, toml, arguments, message):
    code, _, err = run(*arguments)
    assert code == 1 and "error: " in err and message in err and "Traceback" not in err


def test_data_lists_and_reports_missing(run, tmp_path, monkeypatch):
    code, out, _ = run("data", "digits")
    assert code == 0 and "digits: 1437 + 360 images of 1 x 8 x 8" in out
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.delenv("FIRSTSPIKE_DATA", raising=False)
    code, out, err = run("data", "mnist", "digits", "--no-download")
    assert code == 1 and "digits:" in out and "by hand" in err


def test_backends(run):
    code, out, _ = run("backends")
    assert code == 0 and "instruction set" in out and "cuda" in out
    assert json.loads(run("backends", "--json")[1])["cpu"]["instruction_set"] in ("v2", "v3", "v4", "generic")


def test_emulate_passes_its_arguments_on(run):
    code, out, _ = run("emulate", "--help")
    assert code == 0 and "--profile" in out and "firstspike emulate" in out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_run_that_then_goes_on(run, toml, tmp_path, number):
    command = [sys.executable, "-m", "firstspike", "train", str(toml), "--set", "epochs=400"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr.readline().startswith("epoch 1/400")
        time.sleep(0.1)
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "the same command goes on" in rest and "Traceback" not in rest
    done = json.loads((tmp_path / "runs" / "small" / "checkpoint.json").read_text())["epoch"]
    assert 1 <= done < 400
    code, _, err = run("eval", "runs/small")  # an unfinished run can be measured
    assert code == 0, err
