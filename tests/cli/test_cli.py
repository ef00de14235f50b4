"""The command `firstspike`, run as a user runs it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from firstspike import backends
from firstspike.cli import COMMANDS, app

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
    for name in ("train", "eval", "emulate", "data", "doctor", "backends"):
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
        (("train", "small.toml", "--set", "lr=fast"), "lr: "),
        (("train", "small.toml", "--set", "lr"), "--set must be NAME=VALUE, got 'lr'"),
        (("train", "small.toml", "--set", "spec=64-32x-10"), "64-32x-10"),
        (("train", "small.toml", "--set", "spec=2048-10-11"), "2048"),  # a net, and no date
        (("train", "small.toml", "--data", "nowhere", "--set", "data=mnist"), "must name an existing folder"),
        (("eval", "nowhere"), "RUN must be the folder of a run, a file, or a net that ships"),
        (("eval", "nowhere", "--split", "dev"), "--split must be one of test, train"),
        (("data", "nothing"), "NAMES must be one of digits"),
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
    code, out, err = run("data", "mnist", "digits", "--offline")
    assert code == 1 and "digits:" in out and "by hand" in err


def test_backends(run):
    code, out, _ = run("backends")
    assert code == 0 and "instruction set" in out and "cuda" in out
    assert json.loads(run("backends", "--json")[1])["cpu"]["instruction_set"] in ("v2", "v3", "v4", "generic")


def test_emulate_passes_its_arguments_on(run):
    code, out, _ = run("emulate", "--help")
    assert code == 0 and "--profile" in out and "firstspike emulate" in out


def default_signals():
    """In the child: a parent may ignore SIGINT (nohup command &), and a child inherits that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_run_that_then_goes_on(run, toml, tmp_path, number):
    command = [sys.executable, "-m", "firstspike", "train", str(toml), "--set", "epochs=400"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=default_signals
    ) as process:
        assert process.stderr.readline().startswith("epoch 1/400")
        time.sleep(0.1)
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Interrupted. Run the same command again to resume" in rest and "Traceback" not in rest
    done = json.loads((tmp_path / "runs" / "small" / "checkpoint.json").read_text())["epoch"]
    assert 1 <= done < 400
    code, _, err = run("eval", "runs/small")  # an unfinished run can be measured
    assert code == 0, err


def test_version(run):
    from firstspike import __version__

    assert run("--version")[:2] == (0, f"firstspike {__version__}\n")


def test_help_is_a_table_of_contents_with_examples(run):
    _, out, _ = run("--help")
    assert out.index("Train and measure") < out.index("Emulated chips") < out.index("Data and installation")
    assert "firstspike train examples/mnist-mlp.toml --set epochs=5" in out and "\x1b" not in out


def test_doctor_says_what_is_there_and_what_to_do(run, monkeypatch):
    code, out, _ = run("doctor")
    assert code == 0
    for word in ("packages", "torch ", "instruction set", "threads", "cuda", "cache", "advice"):
        assert word in out
    monkeypatch.setattr("firstspike.diagnosis._version", lambda name: None if name in ("pillow", "jinja2") else "1")
    monkeypatch.setattr("firstspike._base.provenance.cores", lambda: 1000)
    found = json.loads(run("doctor", "--json")[1])
    assert "for folders of images: pip install pillow" in found["advice"]
    assert "for pictures and reports: pip install jinja2" in found["advice"]
    assert any(line.endswith("of 1000 cores are used: set OMP_NUM_THREADS=1000, or threads in the settings")
               for line in found["advice"])  # fmt: skip


def test_doctor_on_a_busy_machine(run, monkeypatch):
    """Threads that spin are advised against, and more of them are not advised."""
    monkeypatch.setattr("firstspike.diagnosis._load", lambda: 3.25)
    monkeypatch.setattr("firstspike._base.provenance.cores", lambda: 3)
    compiled = backends()
    monkeypatch.setattr("firstspike.diagnosis.backends", lambda: {**compiled, "cpu": {**compiled["cpu"], "threads": 2}})

    def threads() -> list[str]:
        return [line for line in json.loads(run("doctor", "--json")[1])["advice"] if "OMP_" in line]

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    (advice,) = threads()
    assert advice.startswith("the machine is busy, its load is 3.2 on 3 cores") and "OMP_WAIT_POLICY=PASSIVE" in advice
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert threads() == []
    monkeypatch.setattr("firstspike.diagnosis._load", lambda: 1.0)
    assert threads() == ["2 of 3 cores are used: set OMP_NUM_THREADS=3, or threads in the settings"]


def test_data_as_json(run):
    code, out, _ = run("data", "digits", "--json")
    (found,) = json.loads(out)
    assert code == 0 and found["available"] and found["train"] == 1437 and found["shape"] == [1, 8, 8]


@pytest.mark.parametrize("name", [entry[0] for entry in COMMANDS])
def test_every_command_has_json_and_examples(run, name):
    _, out, _ = run(name, "--help")
    assert "--json" in out and "Examples:" in out and f"firstspike {name}" in out.partition("Examples:")[2]


@pytest.mark.parametrize("example", [example for entry in COMMANDS for example in entry[3:]])
def test_examples_are_accepted(example):
    program, name, *arguments = shlex.split(example)
    assert program == "firstspike"
    typer.main.get_command(app).commands[name].make_context(name, arguments)  # reads the options, runs nothing


def write_images(folder, count=12, side=8, classes=("bright", "dark")):
    """Images of two classes that any net tells apart."""
    from PIL import Image

    for part in ("train", "test"):
        for label, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                level = 200 - 150 * label + index
                Image.new("L", (side, side), level).save(folder / part / name / f"{index}.png")


IMAGES = 'spec = "64-16-2"\nsteps = 4\nepochs = 2\nbatch = 8\nlr = 0.01\nthreads = 1\n'


def test_own_images_are_trained_and_measured(run, tmp_path):
    write_images(tmp_path / "pictures")
    (tmp_path / "own.toml").write_text(IMAGES, encoding="utf-8")
    code, out, err = run("train", "own.toml", "--images", "pictures")
    assert code == 0, err
    assert out.startswith("images, 64-16-2: test set after epoch 2")
    record = json.loads((tmp_path / "runs" / "own" / "result.json").read_text())["data"]["test"]
    assert record["samples"] == 24 and record["recipe"]["classes"] == ["bright", "dark"]
    code, out, err = run("eval", "runs/own", "--json")
    assert code == 0 and json.loads(out)["images"] == 24 and err == ""
    (tmp_path / "pictures" / "test" / "dark" / "0.png").unlink()
    code, _, err = run("eval", "runs/own")
    assert code == 0 and "warning: the test data are not those of the run" in err
    (tmp_path / "pictures").rename(tmp_path / "moved")
    code, _, err = run("eval", "runs/own")
    assert code == 1 and "must be a folder with one folder of images per class" in err
    assert run("eval", "runs/own", "--images", "moved")[0] == 0
    for part in ("train", "test"):
        (tmp_path / "moved" / part / "dark").rename(tmp_path / "moved" / part / "black")
    code, _, err = run("eval", "runs/own", "--images", "moved")
    assert code == 1 and "moved must have the classes of the recorded data" in err


MISTAKES = [
    (("train", "own.toml"), "data must be given once"),
    (("train", "own.toml", "--images", "nowhere"), "nowhere/train must be a folder with one folder of images per class"),
    (("train", "small.toml", "--images", "x"), "data must be given once"),
    (("train", "."), "is a folder"),
    (("train", "small.toml", "--directory", "small.toml"), "small.toml"),
    (("train", "small.toml", "--directory", "small.toml/x"), "small.toml"),
    (("train", "small.toml", "--directory", "/proc/nothing"), "/proc/nothing"),
    (("train", "small.toml", "--set", "device=gpu"), "device: "),
    (("eval", "digits-cn"), "RUN must be the folder of a run, a file, or a net that ships (digits-cnn"),
    (("eval", "small.toml"), "RUN must be the folder of a run or a file of a net, got 'small.toml', which holds settings"),
    (("train", "small.toml", "--set", "limit=-350"), "limit: "),
    (("train", "small.toml", "--set", "spec=64-32-8"), "10 classes, got 8"),
    (("train", "small.toml", "--set", "augmentation=none", "--set", "augmentation.shift=1"), "contradicts"),
    (("train", "small.toml", "--init-from", "small.toml"), "--init-from must be the folder of a run or a file of a net, got"),
        (("train", "small.toml", "--init-from", "nowhere"), "--init-from must be the folder of a run, a file, or a net"),
    (("eval", "."), "has no checkpoint"),
    (("data", "mnist", "--data", "small.toml"), "--data must name an existing folder, got 'small.toml'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_what_a_user_can_mend_gets_one_line(run, toml, tmp_path, arguments, message):
    (tmp_path / "own.toml").write_text(IMAGES, encoding="utf-8")
    code, _, err = run(*arguments)
    assert code == 1 and err.startswith("error: ") and message in " ".join(err.split())
    assert "Traceback" not in err and "resume=" not in err


@pytest.mark.parametrize("name", ["model.safetensors", "result.json", "checkpoint.safetensors"])
def test_cut_files_of_a_run(run, toml, tmp_path, name):
    assert run("train", toml, "--set", "epochs=1", "--no-progress")[0] == 0
    path = tmp_path / "runs" / "small" / name
    path.write_bytes(path.read_bytes()[:-100])
    if name == "model.safetensors":
        code, _, err = run("eval", "runs/small")
    else:
        code, _, err = run("train", toml, "--set", "epochs=3", "--no-progress")
        assert "--no-resume starts over" in err
        assert run("train", toml, "--set", "epochs=3", "--no-progress", "--no-resume")[0] == 0
    assert code == 1 and name in err and err.count("\n") == 1


def test_own_images_reach_the_chip_and_the_pictures(run, tmp_path):
    write_images(tmp_path / "pictures")
    (tmp_path / "own.toml").write_text(IMAGES, encoding="utf-8")
    assert run("train", "own.toml", "--images", "pictures", "--no-progress")[0] == 0
    code, out, err = run("emulate", "runs/own", "--json", "--no-progress")
    assert code == 0 and json.loads(out), err
    assert run("profile", "runs/own", "--count", "4", "--json")[0] == 0
