"""The command: what it runs, what it says, how it resumes after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paper.execute import Outcome
from paper.records import Store
from typer.testing import CliRunner

from firstspike import data
from paper import grid, reproduce, session

from .samples import PROFILE, profile, quick_job

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The command with the tiny profile in place of quick, jobs that train nothing, no MNIST and no emulator."""
    load = data.load

    def no_mnist(name, **arguments):
        if name == "mnist":
            raise data.NotAvailable("mnist", ["a mirror: no network"], "Put the four files into DIR/mnist.")
        return load(name, **arguments)

    monkeypatch.setattr(session.data, "load", no_mnist)
    monkeypatch.setattr(grid, "load", lambda name: profile(tmp_path / "profile"))
    monkeypatch.setattr(reproduce, "train", quick_job)
    monkeypatch.setattr(reproduce, "APART", dict.fromkeys(reproduce.APART, lambda *_, **__: 0))

    def run(*arguments):
        return CliRunner().invoke(reproduce.app, ["--results", str(tmp_path), "--workers", "0", *arguments])

    return run, Store(tmp_path / "quick")


def test_without_data_the_others_run_and_the_exit_says_so(tiny):
    run, store = tiny
    done = run()
    assert done.exit_code == reproduce.NOT_RUN, done.output
    runs = grid.runs(grid.load("quick").conditions)
    assert {made.data for made in runs if Store(store.folder).get(made) is not None} == {"digits"}
    table = (store.folder / "tables" / "table1.md").read_text()
    assert table.count("not run: no data") == 4 and "90.50 ± 0.71" in table
    report = (store.folder / "report.html").read_text()
    assert "Put the four files into DIR/mnist." in report and "a mirror: no network" in done.output
    reasons = json.loads((store.folder / "missing.json").read_text()).values()
    assert {reason["reason"] for reason in reasons} == {"not run: no data"}


def test_a_second_session_trains_nothing_unless_records_are_of_another_checkout(tiny):
    run, store = tiny
    assert run("--only", "encoder").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in store.records.iterdir()}
    assert len(before) == 6  # three encoders, two seeds
    done = run("--only", "encoder")
    assert done.exit_code == 0 and "6 runs, 0 to do" in done.output
    assert before == {path: path.stat().st_mtime_ns for path in store.records.iterdir()}
    assert not list(store.work.glob("*"))
    (store.folder / ".checkout").unlink()  # as in a fresh clone
    assert "6 runs, 0 to do" in run("--only", "encoder", "--keep").output
    assert "6 runs, 6 to do" in run("--only", "encoder").output
    assert "6 runs, 0 to do" in run("--only", "encoder").output


@pytest.mark.parametrize("images", ["", 'images = "nowhere"\n'])
def test_large_setups_run_only_when_asked_for(tiny, tmp_path, monkeypatch, images):
    run, store = tiny
    text = PROFILE.replace('data = "digits"', f'data = "digits"\n{images}large = true')
    monkeypatch.setattr(grid, "load", lambda name: profile(tmp_path / "large", text))
    done = run("--only", "encoder")
    assert done.exit_code == 0 and "6 runs, 0 to do" in done.output and not store.records.exists()
    assert f"left out without --large: {'nowhere' if images else 'digits'} (6)" in done.output
    assert "not available" not in done.output
    asked = run("--only", "encoder", "--large")
    if images:  # which nobody has
        assert asked.exit_code == reproduce.NOT_RUN and "not available" in asked.output
    else:
        assert asked.exit_code == 0 and len(list(store.records.iterdir())) == 6


def test_trials_come_first_and_failures_are_not_tried_twice(tiny, tmp_path, monkeypatch):
    run, store = tiny
    trials = "[table4.learning_rates.small]\nvalues = [0.001, 0.004]\nset = { seed = 7, validation = 50 }\n"
    text = PROFILE.replace('[table4]\nsetups = ["cnn"]', f'[table4]\nsetups = ["small"]\n\n{trials}')
    monkeypatch.setattr(grid, "load", lambda name: profile(tmp_path / "trials", text))
    tried = []

    def job(task):
        tried.append(task.run)
        if task.run.seed == 7 and task.run.readout == "twd-exp" and task.run.init == "kaiming":
            return Outcome(task.run, reason="failed: OSError")
        outcome = quick_job(task)
        outcome.record["results"]["validation"] = 90.0 if task.run.lr == 0.004 else 80.0
        return outcome

    monkeypatch.setattr(reproduce, "train", job)
    assert run("--only", "table4").exit_code == reproduce.NOT_RUN
    assert len(tried) == len(set(tried))
    first = next(i for i, made in enumerate(tried) if made.seed != 7)
    assert all(made.seed == 7 for made in tried[:first]) and {made.lr for made in tried[first:]} == {0.004}
    assert (store.folder / "tables/table4.md").read_text().count("failed: OSError") == 1
    assert "| 80.00 | 90.00 | 0.004 |" in (store.folder / "tables/learning_rates.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--only", "table9"], "table9"),
        (["--only", "encoder,"], "''"),
        (["--setup", "cifar"], "cifar"),
        (["--only", "encoder", "--row", "ReLU"], "ReLU"),
        (["--only", "encoder", "--seed", "9"], "9"),
        (["--address", "tcp://x:1"], "--workers"),
        (["--workers", "-2"], "--workers"),
        (["--png", "acuracy=x.png"], "--png"),
        (["--png", "steps=no/such/x.png"], "--png"),
        (["--data", "no/such/folder"], "--data"),
        (["--results", __file__], "--results"),
    ],
)
def test_wrong_arguments_are_named(tiny, arguments, name):
    done = tiny[0](*arguments)
    assert done.exit_code == 2 and name in done.output


@pytest.mark.slow
def test_killed_and_resumed_the_records_are_the_same(tmp_path):
    def command(name):
        line = [sys.executable, str(ROOT / "paper" / "reproduce.py"), "--profile", "smoke"]
        return [*line, "--results", str(tmp_path / name), "--only", "encoder", "--workers", "0"]

    def checkpoints():
        return list((tmp_path / "killed").glob("smoke/work/*/checkpoint.safetensors"))

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(command("killed"), env=environment)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if checkpoints():
            killed.send_signal(signal.SIGSTOP)  # it may have ended the run since
            if checkpoints():
                break
            killed.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert checkpoints(), "it was not killed in the middle of a run"
    found = []
    for name in ("killed", "whole"):
        subprocess.run(command(name), env=environment, check=True)
        paths = (tmp_path / name / "smoke" / "records").iterdir()
        found.append({path.name: json.loads(path.read_text()) for path in paths})
    one, two = found
    assert len(one) == 3 and one.keys() == two.keys()
    for name in one:
        assert one[name]["results"] == two[name]["results"] and one[name]["spec"] == two[name]["spec"]
    digits = next(iter(one.values()))
    assert digits["results"]["test"]["accuracy"] > 30 and digits["results"]["sources"][0]


def test_a_result_that_is_not_finite_stops_no_other_run(tiny, monkeypatch):
    run, store = tiny

    def job(task):
        outcome = quick_job(task)
        if task.run.seed == 1:
            outcome.record["results"]["validation"] = float("nan")
        return outcome

    monkeypatch.setattr(reproduce, "train", job)
    done = run("--only", "encoder")
    assert done.exit_code == reproduce.NOT_RUN and "failed: a result is not finite" in done.output
    assert {json.loads(path.read_text())["spec"]["seed"] for path in store.records.iterdir()} == {0}
