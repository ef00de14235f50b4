"""Others beside a running training: readers, a second run in the same folder."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
import torch

from firstspike.train import BadCheckpoint, checkpoint, fit, load_model


def test_a_reader_sees_one_of_the_epochs_whatever_happens(config, sets, tmp_path):
    """Epochs of milliseconds; formerly a quarter of the reads failed, and told to start the run over."""
    config = config.replace(epochs=60, schedule="constant")
    small = tuple(part.subset(slice(0, 16)) for part in sets)
    fit(config.replace(epochs=1), directory=tmp_path, datasets=small, progress=False)
    (tmp_path / "model.safetensors").unlink()  # as in a first run: only the checkpoint is there
    worker = threading.Thread(
        target=fit, args=(config,), kwargs={"directory": tmp_path, "datasets": small, "progress": False}
    )
    worker.start()
    seen = []
    while worker.is_alive():
        seen.append(load_model(tmp_path).epoch)
    worker.join()
    assert seen == sorted(seen) and len(set(seen)) > 3, seen
    assert load_model(tmp_path).epoch == 60


def test_a_record_that_is_replaced_while_its_tensors_are_read(config, sets, tmp_path, monkeypatch):
    fit(config.replace(epochs=1), directory=tmp_path, datasets=sets, progress=False)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "result.json").unlink()
    real, calls = checkpoint.load_weights, []

    def late(directory, record):
        calls.append(record["tensors"])
        if len(calls) == 1:  # the run goes on for two epochs in the meantime, so this epoch's tensors are gone
            fit(config.replace(epochs=3), directory=tmp_path, datasets=sets, progress=False)
            (tmp_path / "model.safetensors").unlink()
        return real(directory, record)

    monkeypatch.setattr(checkpoint, "load_weights", late)
    assert load_model(tmp_path).epoch == 3 and calls[0] != calls[-1]


def test_real_damage_is_told_at_once(config, sets, tmp_path):
    fit(config.replace(epochs=1), directory=tmp_path, datasets=sets, progress=False)
    (tmp_path / "model.safetensors").unlink()
    (tensors,) = tmp_path.glob("checkpoint-0001-*")
    tensors.unlink()
    began = time.monotonic()
    with pytest.raises(BadCheckpoint, match="is missing or cannot be read"):
        load_model(tmp_path)
    assert time.monotonic() - began < checkpoint._PATIENCE


TRAIN = """
import sys
from firstspike.train import Config, fit
fit(Config.from_toml(sys.argv[1]), directory=sys.argv[2], progress=False)
"""


def start(tmp_path):
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(tmp_path / "run.toml"), str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_a_second_run_waits_says_for_whom_and_finds_the_result(tmp_path):
    text = 'data = "digits"\nspec = "64-400-400-10"\nepochs = 30\nbatch = 16\nthreads = 1\n'
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    first = start(tmp_path)
    while not (tmp_path / "run" / "checkpoint.json").exists():
        time.sleep(0.02)
        assert first.poll() is None, first.stderr.read()
    second = start(tmp_path)
    told = second.stderr.readline()
    assert "waiting for another process" in told and "Ctrl-C stops waiting" in told
    for process in (first, second):
        rest = process.communicate()[1]
        assert process.returncode == 0 and rest == ""
    assert len(json.loads((tmp_path / "run" / "result.json").read_text())["sessions"]) == 1


def test_the_saved_net_is_on_the_cpu_and_independent(config, sets, tmp_path):
    fit(config.replace(epochs=1), directory=tmp_path, datasets=sets, progress=False)
    one, other = load_model(tmp_path).model, load_model(tmp_path).model
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
