"""The command `firstspike`: help, train, eval, plot, profile, data, doctor, signals."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import typer

from firstspike import models, nn, train
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
IMAGES = 'spec = "64-16-10"\nsteps = 4\nepochs = 2\nbatch = 8\nlr = 0.01\nthreads = 1\n'


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


@pytest.mark.parametrize("example", [example for entry in COMMANDS for example in entry[3:]])
def test_examples_are_accepted(example):
    program, name, *arguments = shlex.split(example)
    assert program == "firstspike"
    typer.main.get_command(app).commands[name].make_context(name, arguments)  # reads the options, runs nothing


def test_train_then_eval(call, toml, tmp_path):
    code, out, err = call("train", toml)
    assert code == 0 and "epoch 2/2" in err
    assert (tmp_path / "runs" / "small" / "model.safetensors").is_file()
    accuracy = next(line for line in out.splitlines() if "accuracy" in line)
    code, again, _ = call("eval", "runs/small")
    assert code == 0 and accuracy in again and "stopped after" in again
    code, out, _ = call("eval", "runs/small/model.safetensors", "--json", "--split", "train")
    measured = json.loads(out)
    assert code == 0 and measured["images"] == 1437 and measured["accuracy"] > 0.2


def test_set_changes_settings_and_json_tells_all(call, toml):
    arguments = ("train", toml, "--set", "epochs=1", "--set", "augmentation.shift=1", "--set", "readout=twd-exp")
    code, out, err = call(*arguments, "--json", "--directory", "here", "--no-progress")
    config = json.loads(out)["config"]
    assert code == 0 and err == ""
    assert (config["epochs"], config["augmentation"]["shift"], config["readout"]) == (1, 1, "twd-exp")


def test_own_images_are_trained_measured_and_emulated(call, tmp_path, pictures):
    shutil.copytree(pictures, "pictures")
    (tmp_path / "own.toml").write_text(IMAGES, encoding="utf-8")
    code, out, err = call("train", "own.toml", "--images", "pictures", "--no-progress")
    assert code == 0 and out.startswith("images, 64-16-10: test set after epoch 2"), err
    code, out, err = call("eval", "runs/own", "--json")
    assert code == 0 and json.loads(out)["images"] == 30 and err == ""
    assert call("emulate", "runs/own", "--json", "--no-progress")[0] == 0
    next((tmp_path / "pictures" / "test" / "9").iterdir()).unlink()
    code, _, err = call("eval", "runs/own")
    assert code == 0 and err.startswith("warning: ") and err.count("\n") == 1
    (tmp_path / "pictures").rename(tmp_path / "moved")
    assert call("eval", "runs/own")[0] == 1 and call("eval", "runs/own", "--images", "moved")[0] == 0
    for part in ("train", "test"):
        (tmp_path / "moved" / part / "9").rename(tmp_path / "moved" / part / "nine")
    code, _, err = call("eval", "runs/own", "--images", "moved")
    assert code == 1 and "must have the classes of the recorded data" in err


def test_data_lists_and_reports_missing(call, tmp_path, monkeypatch):
    code, out, _ = call("data", "digits")
    assert code == 0 and "digits: 1437 + 360 images of 1 x 8 x 8" in out
    (row,) = json.loads(call("data", "digits", "--json")[1])
    assert row["available"] and row["train"] == 1437 and row["shape"] == [1, 8, 8]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.delenv("FIRSTSPIKE_DATA", raising=False)
    code, out, err = call("data", "mnist", "digits", "--offline")
    assert code == 1 and "digits:" in out and "by hand" in err


def test_doctor_says_what_is_there_and_what_to_do(call, monkeypatch):
    code, out, _ = call("doctor")
    assert code == 0
    for word in ("packages", "torch ", "instruction set", "threads", "cuda", "cache", "advice"):
        assert word in out
    monkeypatch.setattr("firstspike.cli.about._version", lambda name: None if name in ("pillow", "jinja2") else "1")
    report = json.loads(call("doctor", "--json")[1])
    assert "for folders of images: pip install pillow" in report["advice"]
    assert "for pictures and reports: pip install jinja2" in report["advice"]
    assert report["cpu"]["instruction_set"] in ("v2", "v3", "v4", "generic")


def default_signals():
    """In the child: a parent may ignore SIGINT (nohup command &), and a child inherits that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_that_then_resumes(call, toml, tmp_path, number):
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
    code, _, err = call("eval", "runs/small")  # an unfinished run can be measured
    assert code == 0, err


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
def test_an_interrupted_import_is_one_line():
    code = "import firstspike_command; print('on', flush=True); firstspike_command.main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=default_signals,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "on\n"
        time.sleep(0.05)  # torch takes a second or more
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "Interrupted.\n"
    assert process.returncode == 130


pytest.importorskip("matplotlib")


def test_plot_writes_four_pictures(call, trained, tmp_path):
    code, out, err = call("plot", trained, "--count", 20, "--sample", 3, "--output", "new")
    assert code == 0, err
    names = ["histogram.png", "membrane.png", "raster.png", "weights.png"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names and "new/raster.png" in out
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "new").iterdir())
    files = json.loads(call("plot", trained, "--count", 5, "--format", "svg", "--json")[1])
    assert files["raster"] == str(trained / "plots" / "raster.svg") and (trained / "plots" / "raster.svg").is_file()


def test_nets_of_windows_are_profiled_and_drawn(call):
    rows = json.loads(call("profile", "digits-windowed", "--count", 5, "--json")[1])
    assert [row["layer"] for row in rows] == ["layers.0", "layers.1", "layers.2", "readout", "total"]
    assert rows[-1]["latency"] == 16
    assert len(call("plot", "digits-windowed", "--count", 5, "--output", "new")[1].split()) == 4


def test_profile_advises(call):
    rows = json.loads(call("profile", "digits-windowed", "--count", 40, "--advise", "--json")[1])
    assert rows[0]["change"] == "none" and rows[1]["share"] < 1 and rows[-1]["energy_nj"] is None
    text = call("profile", "digits-windowed", "--count", 40, "--advise")[1]
    assert "an input window of 7 steps" in text and "--set spike_penalty" in text


def test_emulate_stops_early(call):
    options = ("emulate", "digits-mlp", "--limit", 50, "--no-progress")
    rows = json.loads(call(*options, "--curve", "--json")[1])["stopping"]
    assert [row["steps"] for row in rows] == [*range(1, 9)]
    short = json.loads(call(*options, "--stop-after", 3, "--json")[1])["summary"]
    assert short["accuracy"] == rows[2]["accuracy"] and short["latency_steps_max"] == 3 and short["mismatches"] <= 2
    assert "stopped after so many steps" in call(*options, "--curve")[1]
    clear = json.loads(call(*options, "--margin", 0.5, "--json")[1])["summary"]
    assert 1 <= clear["latency_steps_mean"] < 8
    for wrong in (0, 9):
        code, _, err = call(*options, "--stop-after", wrong)
        assert code and f"after must be from 1 to 8, got {wrong}" in err


def test_profile_prints_layers_total_and_an_answer(call):
    rows = json.loads(call("profile", "digits-cnn", "--count", 20, "--json")[1])
    assert [row["layer"] for row in rows] == [*(f"layers.{n}" for n in range(len(rows) - 1)), "total"]
    assert rows[0]["macs"] > 0 and rows[-1]["energy_nj"] > 0 and rows[-1]["latency"] == 8
    *_, answer, cause, change = call("profile", "digits-cnn", "--count", 20)[1].splitlines()
    assert f"{rows[-1]['energy_nj']:.4g} nJ" in answer and f"{rows[-1]['dense_energy_nj']:.4g} nJ" in answer
    costs = {row["layer"]: max(row["updates_nj"], row["synapses_nj"]) for row in rows[:-1]}
    assert max(costs, key=costs.get) in cause and "latency" in change
    *_, answer, _, _ = call("profile", "digits-cnn", "--count", 20, "--energy", "loihi-davies2018")[1].splitlines()
    assert "45nm-integer" in answer


def test_schedules_are_those_of_the_chip(call):
    net = ("digits-windowed", "--count", 20)
    clocked, sorted_ = (
        json.loads(call("profile", *net, "--json", *more)[1]) for more in ((), ("--schedule", "neuron-by-neuron"))
    )
    assert sorted_[-1]["energy_nj"] < 0.2 * clocked[-1]["energy_nj"]
    code, _, err = call("profile", *net, "--schedule", "payload")
    assert code == 1 and "loihi2-graded" in err
    assert "payload" in call("profile", *net, "--profile", "loihi2-graded", "--schedule", "payload")[1]
    code, _, err = call("emulate", "digits-windowed", "--limit", 20, "--no-progress", "--schedule", "payload")
    assert code == 1 and "loihi2-graded" in err


@pytest.mark.parametrize("name", ["digits-cnn", "digits-windowed"])
def test_profile_and_emulate_agree_on_the_energy_of_a_net(call, name):
    total = json.loads(call("profile", name, "--json")[1])[-1]
    summary = json.loads(call("emulate", name, "--json", "--no-progress")[1])["summary"]
    for key, column in (("", "energy_nj"), ("_relu", "dense_energy_nj"), ("_relu_nonzero", "nonzero_energy_nj")):
        assert summary[f"energy{key}_nj_per_image"]["45nm-integer"] == pytest.approx(total[column], rel=0.005)


def test_a_trained_relu_net_stands_beside(call, tmp_path):
    config = tmp_path / "relu.toml"
    config.write_text('data = "digits"\nspec = "64-16-10"\nmodel = "relu"\nepochs = 1\n')
    assert call("train", config, "--directory", "relu", "--no-progress")[0] == 0
    out = call("profile", "digits-mlp", "--count", 20, "--relu", "relu")[1]
    assert f"The net with ReLU of relu: {1.55e-3 * (64 * 16 + 16 * 10):.4g} nJ" in out
    code, out, err = call("profile", "digits-mlp", "--count", 20, "--relu", "digits-mlp")
    assert code == 1 and "sends spikes" in err and not out


def test_a_net_that_ships_is_a_run(call, tmp_path):
    code, _, err = call("plot", "digits-cnn", "--count", 20)
    assert code == 0 and (tmp_path / "digits-cnn" / "plots" / "raster.png").is_file(), err
    assert call("profile", "digits-cnn", "--count", 20)[0] == 0  # the folder of pictures is not a run
    measured = json.loads(call("eval", "digits-mlp", "--json")[1])
    assert measured["images"] == 360 and measured["accuracy"] > 0.9
    emulated = json.loads(call("emulate", "digits-mlp", "--limit", 50, "--json", "--no-progress")[1])
    assert emulated["summary"]["samples"] == 50


@pytest.mark.parametrize("pool", [False, True])
def test_pictures_of_a_given_net(call, tmp_path, pool):
    """One that begins with a pool; one whose first layer pools its maps."""
    layers = [nn.EarliestPool2d(2), nn.TTFSLinear(16, 10, steps=4)] if pool else [nn.TTFSLinear(16, 10, steps=4, avg_pool=2)]
    net = models.TTFSNet(layers, encoder="latency", readout="first-spike", input_shape=(1, 8, 8))
    config = train.Config(data="digits", epochs=1, batch=64, limit=200)
    train.fit(config, model=net, directory=tmp_path / "run", progress=False)
    code, _, err = call("plot", "run", "--count", 5)
    assert code == 0 and (tmp_path / "run" / "plots" / "weights.png").is_file(), err


def test_missing_packages_are_named_in_one_line(call, trained, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or "firstspike.plot" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("firstspike.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for arguments in (("plot", trained, "--count", 2), ("emulate", trained, "--output", "out")):
        code, _, err = call(*arguments)
        assert code == 1 and 'pip install "firstspike[report]"' in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
